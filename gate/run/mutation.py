"""Where a worker lets a drill change things: the same pipeline, with a fault planted at its point.

A job without a mutation goes through :data:`UNCHANGED`, which changes nothing. What a mutator makes
is never kept among the cached artifacts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gate.core.artifact import Artifact
from gate.core.case import Case
from gate.core.result import Planted
from gate.core.tensors import TensorMap
from gate.data.base import SampleSet

if TYPE_CHECKING:
    from gate.backends.base import Backend, Session
    from gate.models.base import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What there is to work with where a file is broken."""

    open_file: Callable[[Artifact], AbstractContextManager[Session]]
    probes: Sequence[TensorMap]
    """Inputs on which a planted fault must show."""
    out_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """What a job carries: which mutator to build, for which fault, and its seed."""

    factory: str
    """``module:callable``; called as ``(fault, seed, case_id)``, it gives a :class:`Mutator`."""
    fault: str
    seed: int
    case_id: str
    """The case that is mutated, under its own id."""
    timed: bool = False
    """False leaves out what measures time and memory, where the fault cannot change either."""


class MutationError(Exception):
    """A mutation that could not be made; never taken for a fault that was noticed."""

    kind = "injection"


class NotApplicableError(MutationError):
    """The case has no place for the fault."""

    kind = "not-here"


class EquivalentError(MutationError):
    """The fault can be planted and changes nothing that can be seen."""

    kind = "equivalent"


class Mutator:
    """One fault at its point of the pipeline; as it stands here, it changes nothing.

    Every method may raise a :class:`MutationError`.
    """

    planted: Planted | None = None
    """Set once the fault is in place."""

    @property
    def changes_making(self) -> bool:
        """True where the candidate is made in another way, so that no cache may hold it."""
        return False

    @property
    def changes_reference(self) -> bool:
        """True where the reference's outputs are not those of a healthy run."""
        return False

    def evaluation(self, samples: SampleSet) -> SampleSet:
        """Evaluation samples, before anything is run on them."""
        return samples

    def making(self, case: Case, calibration: SampleSet | None) -> tuple[Case, SampleSet | None]:
        """What the quantizer is told and given."""
        return case, calibration

    def reference(self, model: LoadedModel, site: Site) -> LoadedModel:
        """The float model, before it is quantized."""
        del site
        return model

    def candidate(self, artifact: Artifact, site: Site) -> Artifact:
        """What the quantizer wrote."""
        del site
        return artifact

    def backend(self, backend: Backend) -> Backend:
        """The runtime that opens the candidate."""
        return backend


UNCHANGED = Mutator()


def mutator_of(mutation: Mutation | None) -> Mutator:
    """Build the mutator of a job; imported by name, because drills stand above this station."""
    if mutation is None:
        return UNCHANGED
    module, _, name = mutation.factory.partition(":")
    factory = getattr(importlib.import_module(module), name)
    made: Mutator = factory(mutation.fault, mutation.seed, mutation.case_id)
    return made
