"""The metrics of each task, and those that a spec declares itself. Data only.

x is the reference's output, y the candidate's.
"""

from __future__ import annotations

from gate.core.status import Tier
from gate.core.task import CUSTOM, DROP, CustomMetric, Task
from gate.metrics.metric_info import Direction, MetricInfo

_LOWER, _HIGHER = Direction.LOWER, Direction.HIGHER
_IMAGES = "interval: bootstrap over images"
_CLUSTERS = "interval: ratio estimator over utterances (Cochran 1977)"
_RESAMPLED = "interval: bootstrap over samples"


def _task(  # noqa: PLR0917 - the call is one line of a table
    task: Task, name: str, unit: str, direction: Direction, formula: str, source: str = ""
) -> MetricInfo:
    """A value of one task, which the reference has as well."""
    return MetricInfo(
        tier=Tier.DEVICE,
        name=name,
        unit=unit,
        direction=direction,
        subject="case",
        formula=formula,
        source=source,
        has_reference=True,
        tasks=frozenset({task}),
    )


def _fall(task: Task, name: str, unit: str, formula: str, source: str) -> MetricInfo:
    """How much worse the candidate is at a task, with an interval."""
    return MetricInfo(
        tier=Tier.DEVICE,
        name=name,
        unit=unit,
        direction=_LOWER,
        subject="case",
        formula=formula,
        source=source,
        has_interval=True,
        tasks=frozenset({task}),
    )


TASK_METRICS: tuple[MetricInfo, ...] = (
    _task(
        Task.DETECTION,
        "map_50",
        "%",
        _HIGHER,
        "100 mean over classes of the average precision at an overlap (IoU) of 0.5",
        "Lin et al. 2014 (COCO), by pycocotools",
    ),
    _task(
        Task.DETECTION,
        "map",
        "%",
        _HIGHER,
        "the same, the mean over overlaps 0.5, 0.55 ... 0.95",
        "Lin et al. 2014 (COCO), by pycocotools",
    ),
    _fall(
        Task.DETECTION, "map_50_drop", "pp", "map_50 of the reference - of the candidate", _IMAGES
    ),
    _fall(Task.DETECTION, "map_drop", "pp", "map of the reference - of the candidate", _IMAGES),
    _task(
        Task.SEGMENTATION,
        "miou",
        "%",
        _HIGHER,
        "100 mean over classes of (pixels of both) / (pixels of either), mask and answer",
    ),
    _task(
        Task.SEGMENTATION,
        "pixel_accuracy",
        "%",
        _HIGHER,
        "100 (pixels of the right class) / (pixels)",
    ),
    _fall(
        Task.SEGMENTATION, "miou_drop", "pp", "miou of the reference - of the candidate", _IMAGES
    ),
    _fall(
        Task.SEGMENTATION,
        "pixel_accuracy_drop",
        "pp",
        "pixel_accuracy of the reference - of the candidate",
        _IMAGES,
    ),
    _task(
        Task.TRANSCRIPTION,
        "wer",
        "%",
        _LOWER,
        "100 (words substituted, left out or put in) / (words)",
        "by jiwer",
    ),
    _task(
        Task.TRANSCRIPTION,
        "cer",
        "%",
        _LOWER,
        "the same of characters, spaces included",
        "by jiwer",
    ),
    _fall(
        Task.TRANSCRIPTION, "wer_rise", "pp", "wer of the candidate - of the reference", _CLUSTERS
    ),
    _fall(
        Task.TRANSCRIPTION, "cer_rise", "pp", "cer of the candidate - of the reference", _CLUSTERS
    ),
    _task(
        Task.LANGUAGE_MODELING,
        "perplexity",
        "",
        _LOWER,
        "exp(mean over tokens of -log p(token))",
    ),
    _fall(
        Task.LANGUAGE_MODELING,
        "perplexity_rise",
        "%",
        "100 (perplexity of the candidate / of the reference - 1)",
        _RESAMPLED,
    ),
    _task(
        Task.VERIFICATION,
        "eer",
        "%",
        _LOWER,
        "100 (impostors accepted) / (impostors), where it equals 100 (genuine refused) / (genuine)",
    ),
    _fall(
        Task.VERIFICATION,
        "eer_rise",
        "pp",
        "eer of the candidate - of the reference",
        "interval: bootstrap over identities",
    ),
    _task(
        Task.ANOMALY_DETECTION,
        "roc_auc",
        "%",
        _HIGHER,
        "100 P(an anomaly scores above a normal sample), ties counting half",
        "Mann and Whitney 1947",
    ),
    _fall(
        Task.ANOMALY_DETECTION,
        "auc_drop",
        "pp",
        "roc_auc of the reference - of the candidate",
        "interval: DeLong, DeLong and Clarke-Pearson 1988",
    ),
    _task(Task.REGRESSION, "mae", "", _LOWER, "mean |y - target|, in the target's unit"),
    _task(Task.REGRESSION, "rmse", "", _LOWER, "sqrt(mean (y - target)^2), in the target's unit"),
    _fall(
        Task.REGRESSION,
        "mae_rise",
        "%",
        "100 (mae of the candidate / of the reference - 1)",
        _RESAMPLED,
    ),
    _fall(
        Task.REGRESSION,
        "rmse_rise",
        "%",
        "100 (rmse of the candidate / of the reference - 1)",
        _RESAMPLED,
    ),
)


def custom_infos(metric: CustomMetric) -> tuple[MetricInfo, MetricInfo]:
    """A metric of the user's own, and its paired difference: how much worse the candidate is."""
    name = f"{CUSTOM}{metric.name}"
    value = MetricInfo(
        tier=Tier.DEVICE,
        name=name,
        unit=metric.unit,
        direction=Direction(metric.direction),
        subject="case",
        formula=f"{metric.aggregate} of {metric.entry}",
        has_reference=True,
    )
    difference = MetricInfo(
        tier=Tier.DEVICE,
        name=f"{name}{DROP}",
        unit=drop_unit(metric.unit),
        direction=_LOWER,
        subject="case",
        formula=f"how much worse {name} of the candidate is than that of the reference",
        source=_RESAMPLED,
        has_interval=True,
    )
    return value, difference


def drop_unit(unit: str) -> str:
    """Unit of a difference between two values: points where the values are per cent."""
    return "pp" if unit == "%" else unit
