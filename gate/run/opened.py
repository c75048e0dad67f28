"""A case's two models, opened beside each other outside the order of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.case import Case
from gate.data.base import SampleSet
from gate.data.samples import open_samples
from gate.models.base import LoadedModel
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.prepare import Prepared, Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What every candidate of a case is made from."""

    native: LoadedModel
    evaluation: SampleSet
    calibration: SampleSet | None


def material(case: Case) -> Material:
    """Load a case's reference and samples.

    Raises:
        ModelError, DataError: something that the user can put right.
    """
    native = plugins.load("sources", case.model.source).load(case.model, seed=case.run.seed)
    evaluation, calibration = open_samples(case.data, case.model.inputs)
    return Material(native=native, evaluation=evaluation, calibration=calibration)


def prepared(case: Case, found: Material, *, cache: Cache, work: Path) -> Prepared:
    """Make the candidate, or take it from the cache.

    Raises:
        ModelError, QuantizeError: as in a run.
    """
    remarks: list[str] = []
    workshop = Workshop(case, cache=cache, announcer=Announcer(None), work=work, notes=remarks)
    return workshop.prepare(found.native, found.calibration)


@contextmanager
def sessions(case: Case, made: Prepared) -> Iterator[tuple[Session, Session]]:
    """The reference's and the candidate's session.

    Raises:
        BackendError: a runtime refuses a model.
    """
    home: Backend = plugins.load("backends", made.reference_target.backend)
    backend: Backend = plugins.load("backends", case.target.backend)
    with (
        home.open_reference(made.reference, target=made.reference_target) as reference,
        backend.open_candidate(made.artifact, model=made.base, target=case.target) as candidate,
    ):
        yield reference, candidate


def described(case: Case, versions: Sequence[str] = ()) -> tuple[str, ...]:
    """Lines that say what a reproduction was taken from."""
    options = ", ".join(f"{k}: {v}" for k, v in case.quantization.options.items())
    return (
        f"case `{case.id}` of `{case.spec_path}`",
        f"quantized by {case.quantization.method}" + (f" ({options})" if options else ""),
        f"run by {case.target.backend}" + (f", {', '.join(versions)}" if versions else ""),
    )
