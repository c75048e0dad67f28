"""Why a case cannot run here and how to make it: asked before any run, answered in the plan too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from gate import plugins
from gate.core.case import Case
from gate.core.spec import Requirements


def skip_reason(case: Case, *, probe: bool = True) -> str | None:
    """Every reason why ``case`` cannot run here, in one line; None where it can.

    Args:
        case: what is to run.
        probe: False asks nothing for which a framework would be loaded, so that an engine which the
            installed runtime was built without is not noticed.
    """
    # What a spec says about its own needs comes with its own hint; plugins often fail for the same
    # cause, and are asked only where the rest is there.
    found = (
        list(_forbidden_stand_in(case))
        or list(missing_requirements(case.requires))
        or list(_missing_plugins(case, probe=probe))
    )
    return "; ".join(dict.fromkeys(found)) or None


def _forbidden_stand_in(case: Case) -> Iterator[str]:
    """What the named model lacks, where its stand-in was not to run in its place."""
    if case.stand_in is not None and not case.stand_in.ran and case.stand_in.absent:
        yield f"{case.stand_in.absent}; no stand-in is wanted"


def missing_requirements(requires: Requirements) -> Iterator[str]:
    """What ``requires`` lists and this machine lacks."""
    missing = [
        *(
            f"the package {package} is not installed"
            for package in requires.packages
            if not _importable(package)
        ),
        *(
            f"the environment variable {name} is not set"
            for name in requires.env
            if not os.environ.get(name)
        ),
    ]
    # The hint is for all of them, and told once.
    if missing and requires.install_hint:
        missing[-1] += f" ({requires.install_hint})"
    yield from missing


def _missing_plugins(case: Case, *, probe: bool) -> Iterator[str]:
    data = {case.data.evaluation.source}
    if case.data.calibration is not None:
        data.add(case.data.calibration.source)
    asked: list[tuple[str, str, plugins.Kind]] = [
        ("model source", case.model.source, "sources"),
        *(("data source", name, "data") for name in sorted(data)),
        ("method", case.quantization.method, "quantizers"),
    ]
    for what, name, kind in asked:
        if (reason := plugins.load(kind, name).unavailable()) is not None:
            yield f"{what} {name}: {reason}"
    backend = plugins.load("backends", case.target.backend)
    if (reason := backend.unavailable(case.target if probe else None)) is not None:
        yield f"backend {case.target.backend}: {reason}"


def _importable(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a parent that is missing; a module without a spec
        return False
