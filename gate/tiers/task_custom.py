"""Metrics of the user's own: a trusted entry gives one number a sample, for both models."""

from __future__ import annotations

from typing import Any

import numpy as np

from gate.core.task import CustomMetric, CustomScores
from gate.core.tensors import Array, TensorMap
from gate.data.base import Batch
from gate.spec.entries import load_entry
from gate.tiers.task import OutputError, UnscorableError

_RATIO = "ratio"


class CustomScorer:
    """Calls ``entry(outputs, truths, inputs)`` for both sides of every batch; a ``Scorer``.

    ``outputs`` and ``inputs`` are arrays by name, ``truths`` an array of class indices, a tuple of
    other truths, or None. It returns one number a sample, shape (batch,); with ``aggregate: ratio``
    two, shape (batch, 2), a numerator and a denominator.

    Raises:
        EntryError: the entry is not trusted or cannot be loaded.
    """

    def __init__(self, metric: CustomMetric) -> None:
        self._metric = metric
        self._entry = load_entry(metric.entry)
        self._rows: dict[str, list[Array]] = {"reference": [], "candidate": []}
        self._why_none = ""

    def add(self, batch: Batch, x: TensorMap, y: TensorMap) -> None:
        """See ``Scorer``."""
        try:
            self._rows["reference"].append(self._called(x, batch))
        except UnscorableError as error:
            raise OutputError(f"metric '{self._metric.name}' of the reference: {error}") from error
        if not self._why_none:
            try:
                self._rows["candidate"].append(self._called(y, batch))
            except UnscorableError as error:
                self._why_none = str(error)

    def result(self) -> CustomScores:
        """Everything seen."""
        before, after = (np.concatenate(rows or [np.empty((0, 2))]) for rows in self._rows.values())
        if self._why_none:
            after = np.empty((0, 2))
        weighted = self._metric.aggregate == _RATIO
        return CustomScores(
            name=self._metric.name,
            unit=self._metric.unit,
            direction=self._metric.direction,
            aggregate=self._metric.aggregate,
            reference=tuple(before[:, 0].tolist()),
            candidate=tuple(after[:, 0].tolist()),
            reference_weights=tuple(before[:, 1].tolist()) if weighted else (),
            candidate_weights=tuple(after[:, 1].tolist()) if weighted else (),
            why_none=self._why_none,
        )

    def _called(self, outputs: TensorMap, batch: Batch) -> Array:
        truths = batch.labels if batch.targets is None else batch.targets
        try:
            found: Any = self._entry(dict(outputs), truths, dict(batch.inputs))
            numbers = np.asarray(found, dtype=np.float64)
        except Exception as error:
            raise UnscorableError(
                f"{self._metric.entry} raised {type(error).__name__}: {error}"
            ) from error
        count = len(batch.indices)
        wanted = (count, 2) if self._metric.aggregate == _RATIO else (count,)
        if numbers.shape != wanted:
            raise UnscorableError(
                f"{self._metric.entry} returned shape {list(numbers.shape)} for {count} samples,"
                f" expected {list(wanted)}"
            )
        return numbers if numbers.ndim == 2 else np.stack([numbers, np.ones(count)], axis=1)
