"""Task -> what scores it."""

from __future__ import annotations

from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import ModelSpec, Options
from gate.core.task import Task
from gate.spec.tasks import DECODINGS
from gate.tiers.task import TaskScorer
from gate.tiers.task_detection import DetectionScorer
from gate.tiers.task_images import SegmentationScorer
from gate.tiers.task_scores import AnomalyScorer, RegressionScorer, VerificationScorer
from gate.tiers.task_sequence import LanguageScorer, TranscriptionScorer

_SCORERS: dict[str, type[TaskScorer]] = {
    Task.DETECTION: DetectionScorer,
    Task.TRANSCRIPTION: TranscriptionScorer,
    Task.LANGUAGE_MODELING: LanguageScorer,
    Task.VERIFICATION: VerificationScorer,
    Task.ANOMALY_DETECTION: AnomalyScorer,
    Task.REGRESSION: RegressionScorer,
}


def task_scorer(model: ModelSpec, preprocess: Options) -> TaskScorer | None:
    """The scorer of a model's task; None for classification, which ``numerical`` counts itself, and
    for tasks without one."""
    task = model.task
    if task == Task.SEGMENTATION:
        return SegmentationScorer(decoding(task, model.decoding), preprocess)
    kind = _SCORERS.get(task)
    return kind(decoding(task, model.decoding)) if kind is not None else None


def decoding(task: str, written: Options) -> dict[str, JsonValue]:
    """What a spec says, with the defaults of the rest."""
    return with_defaults(written, DECODINGS[Task(task)])
