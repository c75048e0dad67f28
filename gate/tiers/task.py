"""What both models do at a task, sample by sample; one subclass a task, beside this file.

The reference's outputs must be what the task takes: anything else is a mistake in the spec or the
data. The candidate's may be anything: what cannot be scored is a fact about it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gate.core.spec import Options
from gate.core.task import Column, TaskScores
from gate.core.tensors import Array, TensorMap
from gate.data.base import Batch, DataError, Truth

Facts = Mapping[str, Sequence[float]]
"""Column -> rows of one batch."""


class OutputError(Exception):
    """A reference that does not give what every later step needs; the message is for the user."""


class UnscorableError(Exception):
    """Outputs that the task cannot make an answer of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One batch with what is right of it."""

    batch: Batch
    truths: Sequence[Truth]


class Scorer(Protocol):
    """Sees every batch of the evaluation, in order."""

    def add(self, batch: Batch, x: TensorMap, y: TensorMap) -> None:
        """Take the outputs of reference and candidate for one batch.

        Raises:
            OutputError: the reference's outputs do not fit the task.
            DataError: the truths do not.
        """
        ...


class TaskScorer(ABC):
    """Collects columns; a subclass turns outputs and truths into rows of them."""

    task: str
    truth_columns: tuple[str, ...]
    columns: tuple[str, ...]

    def __init__(self, options: Options) -> None:
        """``options`` are those of ``model.decoding``, with their defaults."""
        self.options = options
        self.units = 0
        self._truth: dict[str, list[float]] = {name: [] for name in self.truth_columns}
        self._sides: dict[str, dict[str, list[float]]] = {
            side: {name: [] for name in self.columns} for side in ("reference", "candidate")
        }
        self._why_none = ""
        self._labelled: bool | None = None

    @abstractmethod
    def prepare(self, given: Labelled) -> Facts:
        """Rows of the truth for one batch, whose samples are counted after it.

        Raises:
            DataError: truths that are none of this task.
        """

    @abstractmethod
    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Rows of one model for one batch.

        Raises:
            UnscorableError: the outputs do not fit the task.
        """

    def add(self, batch: Batch, x: TensorMap, y: TensorMap) -> None:
        """See ``Scorer``."""
        truths: Sequence[Truth] | None = batch.targets
        if batch.labels is not None:
            truths = batch.labels.tolist()
        if self._labelled is None:
            self._labelled = truths is not None
        if self._labelled != (truths is not None):
            raise DataError(
                f"samples {_span(batch.indices)} have {'labels' if truths is not None else 'no labels'}, "
                "those before them do not agree; a task is scored on all samples or on none"
            )
        if truths is None:
            return
        given = Labelled(batch=batch, truths=truths)
        _extend(self._truth, self.prepare(given))
        try:
            _extend(self._sides["reference"], self.facts(x, given))
        except UnscorableError as error:
            raise OutputError(f"the reference cannot do the task {self.task}: {error}") from error
        if not self._why_none:
            try:
                _extend(self._sides["candidate"], self.facts(y, given))
            except UnscorableError as error:
                self._why_none = f"the candidate's outputs cannot be scored: {error}"
        self.units += len(batch.indices)

    def result(self) -> TaskScores | None:
        """Everything seen; None without labels."""
        if not self._labelled:
            return None
        return TaskScores(
            task=str(self.task),
            units=self.units,
            truth=_columns(self._truth),
            reference=_columns(self._sides["reference"]),
            candidate=() if self._why_none else _columns(self._sides["candidate"]),
            why_none=self._why_none,
        )

    def output(self, outputs: TensorMap, fits: Callable[[Array], bool], wanted: str) -> Array:
        """The output that answers: the one that the spec names, the only one, or the first that fits.

        Raises:
            UnscorableError: there is none.
        """
        name = self.options.get("output")
        if len(outputs) == 1:
            found: Array | None = next(iter(outputs.values()))
        elif name is not None:
            found = outputs.get(str(name))
        else:
            found = next((value for value in outputs.values() if fits(value)), None)
        if found is not None and fits(found):
            return found
        there = ", ".join(f"{n} {v.dtype}{list(v.shape)}" for n, v in outputs.items()) or "none"
        raise UnscorableError(f"expected {wanted}, found the outputs {there}")


def arrays(truths: Sequence[Truth], task: str, wanted: str) -> list[Array]:
    """Truths that are arrays.

    Raises:
        DataError: another kind of truth.
    """
    for truth in truths:
        if not isinstance(truth, np.ndarray):
            raise DataError(
                f"the task {task} takes {wanted} as labels, the data has {_kind(truth)}"
            )
    return [np.asarray(truth) for truth in truths]


def integers(truths: Sequence[Truth], task: str, wanted: str) -> list[int]:
    """Truths that are whole numbers.

    Raises:
        DataError: another kind of truth.
    """
    for truth in truths:
        if not isinstance(truth, int):
            raise DataError(
                f"the task {task} takes {wanted} as labels, the data has {_kind(truth)}"
            )
    return [int(truth) for truth in truths if isinstance(truth, int)]


def _span(indices: Sequence[int]) -> str:
    return f"{indices[0]} to {indices[-1]}" if indices else "of an empty batch"


def _kind(truth: Truth) -> str:
    if isinstance(truth, str):
        return "texts"
    if isinstance(truth, np.ndarray):
        return f"arrays ({truth.dtype} of shape {list(truth.shape)})"
    return "class indices"


def _extend(columns: dict[str, list[float]], rows: Facts) -> None:
    for name, values in rows.items():
        columns.setdefault(name, []).extend(float(value) for value in values)


def _columns(columns: Mapping[str, Sequence[float]]) -> tuple[Column, ...]:
    return tuple(Column(name=name, values=tuple(values)) for name, values in columns.items())
