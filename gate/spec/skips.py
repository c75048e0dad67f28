"""Why a case cannot run here and how to make it: asked before any run, answered in the plan too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from gate import plugins
from gate.core.case import Case
from gate.core.spec import Requirements


def skip_reason(case: Case) -> str | None:
    """Every reason why ``case`` cannot run here, in one line; None where it can."""
    return "; ".join(dict.fromkeys(_reasons(case))) or None


def missing_requirements(requires: Requirements) -> Iterator[str]:
    """What ``requires`` lists and this machine lacks."""
    hint = f": {requires.install_hint}" if requires.install_hint else ""
    for package in requires.packages:
        if not _importable(package):
            yield f"the package {package} is not installed{hint}"
    for name in requires.env:
        if not os.environ.get(name):
            yield f"the environment variable {name} is not set{hint}"


def _reasons(case: Case) -> Iterator[str]:
    yield from missing_requirements(case.requires)
    answers = [
        plugins.load("sources", case.model.source).unavailable(),
        plugins.load("data", case.data.evaluation.source).unavailable(),
        plugins.load("quantizers", case.quantization.method).unavailable(),
        plugins.load("backends", case.target.backend).unavailable(case.target),
    ]
    if case.data.calibration is not None:
        answers.append(plugins.load("data", case.data.calibration.source).unavailable())
    yield from (answer for answer in answers if answer)


def _importable(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a parent that is missing; a module without a spec
        return False
