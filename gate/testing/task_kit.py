"""Conformance kit that every task's scorer and its metrics pass. Subclass it once a task::

class TestRegression(TaskKit):
    task = Task.REGRESSION

    def truths(self):
        return [np.array([0.5, 1.0]), ...]

    def outputs(self, error):
        return np.stack(self.truths()) + error * noise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from gate.core.canonical import canonical_json
from gate.core.convert import from_plain, to_plain
from gate.core.spec import ModelSpec
from gate.core.status import Tier
from gate.core.task import Task, TaskScores
from gate.core.tensors import Array
from gate.data.base import Batch, Truth
from gate.judge.tasks import TaskValues, headline, scored
from gate.metrics.catalogue import BY_NAME, Direction, task_metrics
from gate.tiers.task_table import task_scorer

ERRORS = (0.0, 0.5, 1.0)
"""None, some, and as much as makes answers of no use."""


class TaskKit:
    """What judge, reports and baselines rely on."""

    task: ClassVar[Task]
    decoding: ClassVar[Mapping[str, Any]] = {}
    """``model.decoding`` of a spec."""

    def truths(self) -> Sequence[Truth]:
        """What is right of each sample, a dozen at least."""
        raise NotImplementedError  # the kit has no task of its own

    def outputs(self, error: float) -> Array:
        """What a model answers that is off by ``error`` (one of ``ERRORS``), first axis the samples;
        the same for the same error."""
        raise NotImplementedError  # nor a model: each task says what one answers

    def scores(self, error: float, *, size: int = 5) -> TaskScores:
        """Facts of a perfect reference and a candidate with an error, in batches of ``size``."""
        found = _scored(self._model(), self.truths(), self.outputs(0.0), self.outputs(error), size)
        assert found is not None
        return found

    def values(self, error: float) -> TaskValues:
        """What the judge makes of them."""
        found = scored(self.scores(error))
        assert not found.why_none
        return found

    def test_its_metrics_are_in_the_catalogue(self) -> None:
        """Of the device tier, each with a formula; every value has a reference, every other a bound
        that can be certified."""
        known = {info.name for info in task_metrics(self.task)}
        found = self.values(ERRORS[1])
        assert set(found.values) == known
        assert set(found.reference) == {
            name for name in known if BY_NAME[Tier.DEVICE, name].has_reference
        }
        assert set(found.intervals) == {
            name for name in known if BY_NAME[Tier.DEVICE, name].has_interval
        }
        assert headline(self.task) in known

    def test_an_equal_candidate_loses_nothing(self) -> None:
        """Values are those of the reference, differences are zero."""
        found = self.values(0.0)
        for name, value in found.values.items():
            assert value == found.reference.get(name, 0.0)

    def test_more_error_is_never_better(self) -> None:
        """Along every metric in its own direction, and worse at the end than at the beginning."""
        runs = [self.values(error).values for error in ERRORS]
        for name in runs[0]:
            column = [run[name] for run in runs]
            falling = BY_NAME[Tier.DEVICE, name].direction is Direction.HIGHER
            assert column == sorted(column, reverse=falling), name
            assert column[0] != column[-1], name

    @pytest.mark.parametrize("size", [1, 3, 1000])
    def test_batches_leave_no_trace(self, size: int) -> None:
        """Facts are of samples: cut otherwise, they are the same."""
        assert self.scores(ERRORS[1], size=size) == self.scores(ERRORS[1])

    def test_survives_the_file(self) -> None:
        """Facts read back from an observation are the same, and give the same to the last bit."""
        facts = self.scores(ERRORS[1])
        assert canonical_json(to_plain(facts))
        read = from_plain(TaskScores, to_plain(facts))
        assert read == facts
        assert scored(read).values == scored(facts).values

    def test_the_interval_holds_the_value(self) -> None:
        """And is the same in every run."""
        found = self.values(ERRORS[1])
        for name, interval in found.intervals.items():
            assert interval.low <= found.values[name] <= interval.high
            assert interval.units > 1
        again = scored(replace(self.scores(ERRORS[1]), units=self.scores(ERRORS[1]).units))
        assert again.intervals == found.intervals

    def test_without_labels_there_is_nothing(self) -> None:
        """No labels are no perfect score."""
        x = self.outputs(0.0)
        assert _scored(self._model(), None, x, x, 5) is None

    def test_an_answer_of_another_shape_has_no_value(self) -> None:
        """It ends nothing, and says why."""
        x = self.outputs(0.0)
        strange = np.zeros((len(x), 2, 2, 2, 2), np.int8)
        found = _scored(self._model(), self.truths(), x, strange, 5)
        assert found is not None
        assert found.candidate == ()
        assert "expected" in scored(found).why_none

    def _model(self) -> ModelSpec:
        return ModelSpec(
            id="kit",
            task=str(self.task),
            source="onnx",
            options={},
            inputs={},
            decoding=dict(self.decoding),
        )


def _scored(
    model: ModelSpec, truths: Sequence[Truth] | None, x: Array, y: Array, size: int
) -> TaskScores | None:
    scorer = task_scorer(model, {})
    assert scorer is not None
    for start in range(0, len(x), size):
        part = slice(start, min(start + size, len(x)))
        own = None if truths is None else list(truths[part])
        whole = own is not None and all(isinstance(truth, int) for truth in own)
        batch = Batch(
            inputs={"x": x[part]},
            labels=np.asarray(own, dtype=np.int64) if whole else None,
            indices=tuple(range(part.start, part.stop)),
            targets=None if own is None or whole else tuple(own),
        )
        scorer.add(batch, {"output": x[part]}, {"output": y[part]})
    return scorer.result()
