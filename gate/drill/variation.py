"""Healthy repeats: the same candidate under what may change from one run to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gate.backends.base import Backend
from gate.core.case import Case
from gate.core.tensors import TensorMap
from gate.run.mutation import Mutator

if TYPE_CHECKING:
    import numpy as np

    from gate.backends.base import Session
    from gate.core.artifact import Artifact
    from gate.core.spec import TargetSpec
    from gate.models.base import LoadedModel

FACTORY = "gate.drill.variation:shuffled_rows"
_BATCHES = (1.0, 0.5, 0.25, 2.0, 0.75, 0.3)
"""Factors on the batch of the spec, in turn."""
_THREADS = (1, 2)
_SEED_STEP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One healthy repeat: what it changes."""

    seed: int
    batch: int
    threads: int

    def of(self, case: Case) -> Case:
        """The case under this variation; what it demands stays."""
        grown = max(1.0, self.batch / case.run.batch)
        memory = round(grown * case.run.memory_bytes)  # a larger batch is not to be held against it
        return replace(
            case,
            run=replace(case.run, seed=self.seed, batch=self.batch, memory_bytes=memory),
            target=replace(case.target, threads=self.threads),
        )


def variations(case: Case, count: int, *, seed: int) -> tuple[Variation, ...]:
    """``count`` repeats of a case, no two with the same seed.

    Seeds reach whatever is drawn in making a candidate and the order of samples in a batch; batches
    and threads decide how sums are split. Calibration samples are not drawn anew: another draw is
    another candidate.
    """
    return tuple(
        Variation(
            seed=case.run.seed + _SEED_STEP * (seed + 1) + index,
            batch=max(1, round(case.run.batch * _BATCHES[index % len(_BATCHES)])),
            threads=_THREADS[index // len(_BATCHES) % len(_THREADS)],
        )
        for index in range(count)
    )


def unchanged(fault: str, seed: int, case_id: str) -> Mutator:
    """A run in which nothing is planted and nothing is varied."""
    del fault, seed, case_id
    return Mutator()


def shuffled_rows(fault: str, seed: int, case_id: str) -> Mutator:
    """A run in which the candidate sees the samples of every batch in an order of its own."""
    import numpy as np

    del fault, case_id
    return _ShuffledRows(np.random.default_rng(seed))


class _ShuffledRows(Mutator):
    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def backend(self, backend: Backend) -> Backend:
        shuffling: Any = _Backend(backend, self._rng)  # the rest by delegation
        made: Backend = shuffling
        return made


class _Backend:
    """A backend whose candidates get their rows shuffled; everything else is the inner one's."""

    def __init__(self, inner: Backend, rng: np.random.Generator) -> None:
        self._inner = inner
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> Iterator[Session]:
        inner: AbstractContextManager[Session] = self._inner.open_candidate(
            artifact, model=model, target=target
        )
        with inner as session:
            yield _Session(session, self._rng)


class _Session:
    """Shuffles the rows of a batch before a run and puts the outputs back in order."""

    def __init__(self, inner: Session, rng: np.random.Generator) -> None:
        self._inner = inner
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, inputs: TensorMap) -> TensorMap:
        import numpy as np

        order = self._rng.permutation(len(next(iter(inputs.values()))))
        back = np.argsort(order)
        outputs: Mapping[str, Any] = self._inner.run(
            {name: np.ascontiguousarray(value[order]) for name, value in inputs.items()}
        )
        return {
            name: value[back] if _has_rows(value, back) else value
            for name, value in outputs.items()
        }


def _has_rows(value: Any, rows: Any) -> bool:
    return bool(value.ndim and len(value) == len(rows))
