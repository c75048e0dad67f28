"""What the facts of a task come to: values of both models, and how much worse the candidate is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from gate.core.observation import Observation
from gate.core.task import CUSTOM, DROP, Column, CustomScores, Task, TaskScores
from gate.judge.numerical import missing_samples
from gate.judge.task_intervals import refused_interval, resampled, scaled
from gate.metrics.catalogue import task_metrics
from gate.metrics.detection import AveragePrecision
from gate.metrics.intervals import (
    DropInterval,
    Floats,
    auc_drop,
    clustered_ratio_drop,
    miou,
)
from gate.metrics.sample_size import MIN_CLUSTERS, MIN_IMAGES
from gate.metrics.verification import EqualErrorRate, area_under_curve

DETECTION_REPLICATES = 200
"""A standard error from 200 resamples is off by 5 % (one standard deviation); more would take minutes."""
_WORST_SHOWN = 5
_MAX_NATS = 700.0
"""A mean negative log-likelihood beyond it has no perplexity that a float holds."""
MIN_IDENTITIES = 50
"""With fewer the bootstrap over identities is too narrow to certify anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskValues:
    """Values of one task, in the units of the catalogue."""

    values: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the candidate's, and every difference."""
    reference: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, DropInterval] = field(default_factory=dict)
    """Metric -> the interval of a difference, in the metric's unit."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Metric -> the samples that it comes of, for a difference that fails."""
    why_none: str = ""
    """Why there is no value; empty where there are."""


def task_values(observation: Observation) -> TaskValues:
    """Values of the task that the observation holds facts of; without any, ``why_none``."""
    scores = observation.scores
    if scores is None:
        return TaskValues(
            why_none="the evaluation data has no labels, or the task has no such metric"
        )
    missing = missing_samples(observation)
    planned = observation.samples_planned
    if not missing and scores.task != Task.VERIFICATION and scores.units != planned:
        missing = f"{scores.units} of {planned} planned samples were scored"
    return TaskValues(why_none=missing) if missing else scored(scores)


@lru_cache(maxsize=256)
def scored(scores: TaskScores) -> TaskValues:
    """Values of the facts of a task; kept, since reports and the judge ask several times and a
    bootstrap takes a while."""
    if scores.why_none:
        return TaskValues(why_none=scores.why_none)
    try:
        return _TASKS[scores.task](scores)
    except (ValueError, KeyError, IndexError) as error:
        return TaskValues(why_none=f"the facts of {scores.task} do not fit together: {error}")


@lru_cache(maxsize=256)
def custom_values(scores: CustomScores, samples: int) -> TaskValues:
    """A metric of the user's own over this many samples, and its difference."""
    name = f"{CUSTOM}{scores.name}"
    if scores.why_none:
        return TaskValues(why_none=scores.why_none)
    before, after = np.asarray(scores.reference), np.asarray(scores.candidate)
    weights = [
        np.asarray(given) if given else np.ones(len(before))
        for given in (scores.reference_weights, scores.candidate_weights)
    ]
    if {array.shape for array in (before, after, *weights)} != {(samples,)} or not samples:
        return TaskValues(why_none="the entry did not give a number for every sample")
    sign = 1.0 if scores.direction == "higher" else -1.0

    def both(w: Floats) -> Floats:
        return np.array([w @ before / (w @ weights[0]), w @ after / (w @ weights[1])])

    with np.errstate(divide="ignore", invalid="ignore"):
        reference, candidate = (float(value) for value in both(np.ones(len(before))))
        found = resampled(
            lambda w: np.array([sign * (both(w)[0] - both(w)[1])]), len(before), noun="samples"
        )
    drop = f"{name}{DROP}"
    return TaskValues(
        values={name: candidate, drop: sign * (reference - candidate)},
        reference={name: reference},
        intervals={drop: found[0]} if found else {},
    )


def _detection(scores: TaskScores) -> TaskValues:
    truth = _table(scores.truth)
    sides = [
        AveragePrecision(
            truth["image"],
            truth["class"],
            image=own["image"],
            classes=own["class"],
            score=own["score"],
            matched=own["matched"],
            images=scores.units,
        )
        for own in (_table(scores.reference), _table(scores.candidate))
    ]

    def means(found: Floats) -> Floats:
        return 100.0 * np.array([found[0], found.mean()])

    before, after = means(sides[0]()), means(sides[1]())
    if not np.isfinite(before).all():
        return TaskValues(why_none="no image has a true box")

    def drops(weights: Floats) -> Floats:
        return means(sides[0](weights)) - means(sides[1](weights))

    intervals: tuple[DropInterval, ...] = ()
    if scores.units >= MIN_IMAGES:
        intervals = resampled(drops, scores.units, replicates=DETECTION_REPLICATES)
    else:
        refused = f"{scores.units} images, a certificate takes {MIN_IMAGES}"
        intervals = tuple(
            refused_interval(float(drop), refused, scores.units) for drop in before - after
        )
    return _paired(("map_50", "map"), before, after, intervals)


def _segmentation(scores: TaskScores) -> TaskValues:
    tables = [_table(side) for side in (scores.reference, scores.candidate)]
    shaped = [
        {name: values.reshape(scores.units, -1) for name, values in table.items()}
        for table in tables
    ]

    def means(table: Mapping[str, Floats], weights: Floats) -> Floats:
        unions = table["pixels"] + table["predicted"] - table["intersection"]
        right, all_ = weights @ table["intersection"], weights @ table["pixels"]
        accuracy = right.sum() / all_.sum() if all_.sum() > 0.0 else float("nan")
        return 100.0 * np.array([miou(table["intersection"], unions, weights), accuracy])

    once = np.ones(scores.units)
    before, after = (means(table, once) for table in shaped)
    if not np.isfinite(before).all():
        return TaskValues(why_none="no pixel of a mask is counted")
    intervals = resampled(lambda w: means(shaped[0], w) - means(shaped[1], w), scores.units)
    return _paired(("miou", "pixel_accuracy"), before, after, intervals)


def _transcription(scores: TaskScores) -> TaskValues:
    truth, before, after = (_table(c) for c in (scores.truth, scores.reference, scores.candidate))
    values, reference, intervals, details = {}, {}, {}, {}

    def by_speaker(rows: Floats) -> Floats:
        """Sums a speaker, whose utterances are not independent; an utterance is its own where nobody
        is named."""
        if "speaker" not in truth:
            return rows
        return np.bincount(truth["speaker"].astype(np.int64), weights=rows).astype(np.float64)

    for name, errors, sizes in (
        ("wer", "word_errors", "words"),
        ("cer", "character_errors", "characters"),
    ):
        total = truth[sizes].sum()
        reference[name] = 100.0 * float(before[errors].sum() / total)
        values[name] = 100.0 * float(after[errors].sum() / total)
        values[f"{name}_rise"] = values[name] - reference[name]
        details[f"{name}_rise"] = _most(after[errors] - before[errors], "errors")
        clusters = [by_speaker(rows) for rows in (before[errors], after[errors], truth[sizes])]
        found = (
            clustered_ratio_drop(*clusters)
            if len(clusters[0]) > 1
            else refused_interval(
                values[f"{name}_rise"] / 100.0, f"1 cluster, a certificate takes {MIN_CLUSTERS}", 1
            )
        )
        intervals[f"{name}_rise"] = scaled(found, 100.0)
    return TaskValues(values=values, reference=reference, intervals=intervals, details=details)


def _language(scores: TaskScores) -> TaskValues:
    tokens = _table(scores.truth)["tokens"]
    before, after = (_table(side)["nll"] for side in (scores.reference, scores.candidate))

    def mean(values: Floats, weights: Floats) -> float:
        nats = float(weights @ values / (weights @ tokens))
        return math.exp(nats) if nats <= _MAX_NATS else math.inf

    once = np.ones(scores.units)
    for side, values in (("reference", before), ("candidate", after)):
        if not math.isfinite(mean(values, once)):
            return TaskValues(
                why_none=f"the perplexity of the {side} is beyond exp({_MAX_NATS:g}) or no number"
            )
    return _relative(("perplexity",), (mean,), before, after, scores.units)


def _regression(scores: TaskScores) -> TaskValues:
    elements = _table(scores.truth)["elements"]
    before, after = (_table(side) for side in (scores.reference, scores.candidate))
    rows = [np.stack([side["absolute"], side["squared"]]) for side in (before, after)]

    def mae(values: Floats, weights: Floats) -> float:
        return float(weights @ values[0] / (weights @ elements))

    def rmse(values: Floats, weights: Floats) -> float:
        return math.sqrt(float(weights @ values[1] / (weights @ elements)))

    return _relative(("mae", "rmse"), (mae, rmse), rows[0], rows[1], scores.units)


def _verification(scores: TaskScores) -> TaskValues:
    truth = _table(scores.truth)
    first, second = (truth[name].astype(np.int64) for name in ("first", "second"))
    rates = [
        EqualErrorRate(_table(side)["score"], truth["same"])
        for side in (scores.reference, scores.candidate)
    ]
    before, after = (100.0 * rate() for rate in rates)

    def rise(weights: Floats) -> Floats:
        trials = weights[first] * weights[second]
        return np.array([100.0 * (rates[1](trials) - rates[0](trials))])

    found = resampled(rise, scores.units, least=MIN_IDENTITIES, noun="identities")
    return TaskValues(
        values={"eer": after, "eer_rise": after - before},
        reference={"eer": before},
        intervals={"eer_rise": found[0]} if found else {},
    )


def _anomaly(scores: TaskScores) -> TaskValues:
    labels = _table(scores.truth)["anomalous"]
    before, after = (_table(side)["score"] for side in (scores.reference, scores.candidate))
    values = [100.0 * area_under_curve(labels, side) for side in (before, after)]
    if not math.isfinite(values[0]):
        return TaskValues(why_none="normal and anomalous samples are both needed")
    intervals = {}
    if min(labels.sum(), (1.0 - labels).sum()) > 1 and np.isfinite(after).all():
        intervals["auc_drop"] = scaled(auc_drop(labels, before, after), 100.0)
    return TaskValues(
        values={"roc_auc": values[1], "auc_drop": values[0] - values[1]},
        reference={"roc_auc": values[0]},
        intervals=intervals,
    )


_TASKS: dict[str, Callable[[TaskScores], TaskValues]] = {
    Task.DETECTION: _detection,
    Task.SEGMENTATION: _segmentation,
    Task.TRANSCRIPTION: _transcription,
    Task.LANGUAGE_MODELING: _language,
    Task.VERIFICATION: _verification,
    Task.ANOMALY_DETECTION: _anomaly,
    Task.REGRESSION: _regression,
}


def headline(task: str) -> str | None:
    """The difference that a person asks for first; None for a task without one."""
    names = [info.name for info in task_metrics(task) if info.has_interval]
    return names[0] if names else None


def _paired(
    names: tuple[str, ...],
    before: Floats,
    after: Floats,
    intervals: tuple[DropInterval, ...],
) -> TaskValues:
    """Values whose difference is reference less candidate, in points."""
    drops = {f"{name}_drop": float(x - y) for name, x, y in zip(names, before, after, strict=True)}
    return TaskValues(
        values={**dict(zip(names, after.tolist(), strict=True)), **drops},
        reference=dict(zip(names, before.tolist(), strict=True)),
        intervals=dict(zip(drops, intervals, strict=False)),
    )


def _most(more: Floats, what: str) -> str:
    """The samples that lose most, the worst first."""
    worst = [i for i in np.argsort(-more, kind="stable")[:_WORST_SHOWN].tolist() if more[i] > 0.0]
    said = ", ".join(f"sample {i} (+{more[i]:.4g})" for i in worst)
    return f"most {what} more: {said}" if worst else ""


def _relative(
    names: tuple[str, ...],
    means: tuple[Callable[[Floats, Floats], float], ...],
    before: Floats,
    after: Floats,
    units: int,
) -> TaskValues:
    """Values whose difference is by how many per cent the candidate's are larger."""
    once = np.ones(units)
    reference = {name: mean(before, once) for name, mean in zip(names, means, strict=True)}
    values = {name: mean(after, once) for name, mean in zip(names, means, strict=True)}

    def rises(weights: Floats) -> Floats:
        pairs = ((mean(before, weights), mean(after, weights)) for mean in means)
        return np.array([100.0 * (y / x - 1.0) if x > 0.0 else math.nan for x, y in pairs])

    measured = {f"{n}_rise": float(v) for n, v in zip(names, rises(once), strict=True)}
    intervals = resampled(rises, units, noun="samples")
    more = [_most(row, "error") for row in np.atleast_2d(after - before)]
    return TaskValues(
        values={**values, **measured},
        reference=reference,
        intervals=dict(zip(measured, intervals, strict=False)),
        details=dict(zip(measured, more, strict=True)),
    )


def _table(columns: tuple[Column, ...]) -> dict[str, Floats]:
    return {column.name: np.asarray(column.values, dtype=np.float64) for column in columns}
