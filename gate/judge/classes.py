"""Measurements of a classification class by class: a mean may stand while one class falls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gate.core.observation import Observation
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.judge.numerical import missing_samples
from gate.judge.wording import count
from gate.metrics.catalogue import BY_NAME, CATALOGUE

CLASS_SAMPLES = 10
"""With fewer samples of a class, one flip is ten points and says nothing."""
TOO_FEW = f"no class has {CLASS_SAMPLES} samples, or the result is an old one"
"""Results had no labels once."""
CLASS_METRICS = tuple(info.name for info in CATALOGUE if info.subject == "class")
_CLASSES = 10**6
"""More than any classifier has: a label beyond is damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClass:
    """Samples of one class, and how many of them each model gets right."""

    label: int
    samples: int
    reference: int
    candidate: int

    @property
    def top1(self) -> float:
        """The candidate's, in per cent."""
        return 100.0 * self.candidate / self.samples

    @property
    def drop(self) -> float:
        """The reference's top-1 less the candidate's, in percentage points."""
        return 100.0 * (self.reference - self.candidate) / self.samples


def task_fault(observation: Observation) -> str:
    """Why there is no accuracy; empty where there is."""
    task, n = observation.task, observation.samples_planned
    if task is None:
        return "the evaluation data has no labels, or the task was not observed"
    missing = missing_samples(observation)
    if missing:
        return missing
    given = (task.reference_top1, task.candidate_top1, task.reference_top5, task.candidate_top5)
    for characters in given:
        if characters is not None and (len(characters) != n or set(characters) - {"0", "1"}):
            return f"{len(characters)} of {n} samples have a result that is 0 or 1"
    return ""


def seen_classes(observation: Observation) -> tuple[OfClass, ...]:
    """The classes with ``CLASS_SAMPLES`` samples or more, by label; none of a faulty observation."""
    task = observation.task
    if task is None or task_fault(observation):
        return ()
    labels = np.asarray(task.labels, dtype=np.int64)
    if labels.size != len(task.reference_top1) or not 0 <= labels.min() <= labels.max() < _CLASSES:
        return ()
    sizes = np.bincount(labels)
    before, after = (
        np.bincount(labels, weights=[int(one) for one in right])
        for right in (task.reference_top1, task.candidate_top1)
    )
    return tuple(
        OfClass(
            label=int(label),
            samples=int(sizes[label]),
            reference=int(before[label]),
            candidate=int(after[label]),
        )
        for label in np.flatnonzero(sizes >= CLASS_SAMPLES)
    )


def worst_class(observation: Observation) -> OfClass | None:
    """The class that falls most, the first of several; None where none is seen often enough."""
    return max(seen_classes(observation), key=lambda one: one.drop, default=None)


def by_class(observation: Observation, metric: str) -> Iterator[Measurement]:
    """One of ``CLASS_METRICS``, class by class; the subject is the label."""
    classes = seen_classes(observation)
    info = BY_NAME[Tier.DEVICE, metric]
    for one in classes:
        yield Measurement(
            tier=info.tier,
            metric=metric,
            subject=str(one.label),
            value=one.top1 if metric == "class_top1" else one.drop,
            unit=info.unit,
            detail=f"{count(one.samples, 'sample')} of the class",
        )
    if not classes:
        why = task_fault(observation) or TOO_FEW
        yield Measurement(
            tier=info.tier, metric=metric, subject="case", value=None, unit=info.unit, why_none=why
        )
