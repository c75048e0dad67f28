"""What a case did at its task, in columns: mergeable facts of every sample, for both models.

Which columns there are is the task's own matter; ``gate.metrics.task_columns`` names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What a model's outputs mean."""

    IMAGE_CLASSIFICATION = "image-classification"
    SEQUENCE_CLASSIFICATION = "sequence-classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"
    TRANSCRIPTION = "transcription"
    LANGUAGE_MODELING = "language-modeling"
    VERIFICATION = "verification"
    ANOMALY_DETECTION = "anomaly-detection"
    REGRESSION = "regression"
    OTHER = "other"


CLASSIFICATION = frozenset({Task.IMAGE_CLASSIFICATION, Task.SEQUENCE_CLASSIFICATION})

CUSTOM = "custom."
"""Begins the name of every metric that a spec declares itself."""
DROP = "_drop"
"""Ends the name of the paired difference of such a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number a row."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """Facts of a task other than classification, in the order of the samples."""

    task: str
    """As in the spec: ``detection``, ``segmentation`` ..."""
    units: int
    """What is independent: images, utterances, speakers ..."""
    truth: tuple[Column, ...]
    """What does not depend on the model: sizes, labels."""
    reference: tuple[Column, ...]
    candidate: tuple[Column, ...]
    """The reference's columns; none where ``why_none`` says why."""
    why_none: str = ""
    """Why the candidate's outputs could not be scored; empty where they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomScores:
    """A metric of the user's own: what its entry gave for each sample, for both models."""

    name: str
    unit: str
    direction: str
    """``lower`` or ``higher`` is better."""
    aggregate: str
    """``mean`` of the values, or ``ratio`` of their sum to that of the weights."""
    reference: tuple[float, ...]
    candidate: tuple[float, ...]
    reference_weights: tuple[float, ...] = ()
    """With ``ratio`` only: the denominators."""
    candidate_weights: tuple[float, ...] = ()
    why_none: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomMetric:
    """A metric of the user's own, as a spec declares it."""

    name: str
    entry: str
    """``package.module:callable`` of a trusted module."""
    unit: str
    direction: str
    aggregate: str = "mean"
