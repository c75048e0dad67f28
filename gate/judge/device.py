"""Measurements of the device tier: task accuracy, latency, size, memory and load time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gate.core.observation import Observation, ResourcesObserved, TaskObserved, TimingObserved
from gate.core.status import Tier
from gate.core.task import CLASSIFICATION, CUSTOM, DROP, CustomScores
from gate.core.verdict import Measurement
from gate.judge.classes import TOO_FEW, task_fault, worst_class
from gate.judge.rounds import Against, Ratio, launched, ratio, timing_fault
from gate.judge.tasks import TaskValues, custom_values, task_values
from gate.metrics import timing
from gate.metrics.catalogue import BY_NAME, CATALOGUE
from gate.metrics.intervals import DropInterval
from gate.metrics.paired import PairedCounts, counts, interval
from gate.metrics.task_catalogue import drop_unit

TIME_METRICS = frozenset(
    {"latency_p50", "latency_p90", "latency_p99", "throughput", "load_time", "load_cpu"}
)
"""Absolute times: they depend on the machine and on what else it does."""
_METRICS = tuple(
    (info, bool(info.tasks) and not info.tasks & CLASSIFICATION)
    for info in CATALOGUE
    if info.tier is Tier.DEVICE and info.subject == "case"
)
"""With each, whether it comes of the facts of a task that is no classification."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The candidate's value and, where the metric has one, the reference's."""

    candidate: float | None
    reference: float | None = None
    paired: PairedCounts | None = None
    """Where the value is a difference between two results on the same samples."""
    low: float | None = None
    """Interval of the candidate's value, where the metric has one."""
    high: float | None = None
    detail: str = ""
    """What a failure is to name."""


_Values = Mapping[str, _Pair] | str
"""Metric -> values, or why the whole group has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMeasured:
    """Everything that the device tier of one observation comes to."""

    measurements: tuple[Measurement, ...]
    reference: Mapping[str, float]
    """The reference's own value of every metric that has one."""
    paired: Mapping[str, PairedCounts]
    """Metric -> the counts behind its interval, for the metrics whose bounds can be certified."""
    drops: Mapping[str, DropInterval]
    """Metric -> its interval, for those that are no counts of right and wrong samples."""


def device(observation: Observation) -> DeviceMeasured:
    """Every device metric of the case."""
    groups = _groups(observation)
    task = task_values(observation)
    measurements: list[Measurement] = []
    reference: dict[str, float] = {}
    paired: dict[str, PairedCounts] = {}
    for info, is_scored in _METRICS:
        if is_scored and task.why_none:
            measurements.append(_unscored(info.name, task.why_none))
            continue
        pair, why = _of_task(task, info.name) if is_scored else _find(groups, info.name)
        measurements.append(
            Measurement(
                tier=info.tier,
                metric=info.name,
                subject="case",
                value=pair.candidate,
                unit=info.unit,
                low=pair.low,
                high=pair.high,
                why_none=why if pair.candidate is None else "",
                detail=pair.detail,
            )
        )
        if info.has_reference and pair.reference is not None:
            reference[info.name] = pair.reference
        if info.has_interval and pair.paired is not None:
            paired[info.name] = pair.paired
    drops = dict(task.intervals)
    for scores in observation.custom:
        own = custom_values(scores, observation.samples_planned)
        measurements += _custom(scores, own)
        reference.update(own.reference)
        drops.update(own.intervals)
    return DeviceMeasured(
        measurements=tuple(measurements), reference=reference, paired=paired, drops=drops
    )


@lru_cache(maxsize=1024)
def _unscored(metric: str, why: str) -> Measurement:
    """Of a metric of another task: the same for every case, and half of the metrics of each."""
    unit = BY_NAME[Tier.DEVICE, metric].unit
    return Measurement(
        tier=Tier.DEVICE, metric=metric, subject="case", value=None, unit=unit, why_none=why
    )


def _of_task(task: TaskValues, metric: str) -> tuple[_Pair, str]:
    """Value, reference and interval of one metric, or why there is none."""
    why = task.why_none or "the task has no such metric, or no value here"
    found = task.intervals.get(metric)
    low, high = (found.low, found.high) if found is not None else (None, None)
    if found is not None and not math.isfinite(found.standard_error):
        low = high = None
    detail = task.details.get(metric, "")
    pair = _Pair(
        task.values.get(metric), task.reference.get(metric), low=low, high=high, detail=detail
    )
    return pair, why


def _custom(scores: CustomScores, own: TaskValues) -> Iterator[Measurement]:
    name = f"{CUSTOM}{scores.name}"
    for metric, unit in ((name, scores.unit), (f"{name}{DROP}", drop_unit(scores.unit))):
        pair, why = _of_task(own, metric)
        yield Measurement(
            tier=Tier.DEVICE,
            metric=metric,
            subject="case",
            value=pair.candidate,
            unit=unit,
            low=pair.low,
            high=pair.high,
            why_none=why if pair.candidate is None else "",
        )


def _groups(observation: Observation) -> tuple[_Values, _Values, _Values]:
    return (
        _task(observation.task, observation),
        _timing(observation),
        _resources(observation.resources),
    )


def _find(groups: tuple[_Values, _Values, _Values], metric: str) -> tuple[_Pair, str]:
    task, times, resources = groups
    if metric == "new_flips":
        why = "new flips are counted from a baseline, and there is none"
        return _Pair(None), task if isinstance(task, str) else why
    if metric == "worst_class_drop":
        group, why = task, TOO_FEW
    elif metric in {"top1", "top1_drop", "top5", "top5_drop"}:
        group, why = task, "there are fewer than six classes"
    elif metric == "activation_memory":
        group, why = resources, "the backend does not tell what activations take"
    elif metric == "packed_size":
        group, why = resources, "the runtime does not tell the size of its packed weights"
    elif metric in {"size", "size_ratio", "peak_memory", "load_time", "load_cpu"}:
        group, why = resources, "the observed value is not positive"
    elif metric == "slowdown":
        group, why = times, "the baseline's artifact was not run beside the candidate"
    else:
        group, why = times, "the clock did not advance in a round"
    return (_Pair(None), group) if isinstance(group, str) else (group[metric], why)


def _task(task: TaskObserved | None, observation: Observation) -> _Values:
    fault = task_fault(observation)
    if task is None or fault:
        return fault
    n = observation.samples_planned
    values = dict(_accuracy("top1", task.reference_top1, task.candidate_top1, n))
    values.update(_accuracy("top5", task.reference_top5, task.candidate_top5, n))
    worst = worst_class(observation)
    values["worst_class_drop"] = (
        _Pair(worst.drop, detail=f"class {worst.label}, {worst.samples} samples")
        if worst is not None
        else _Pair(None)
    )
    return values


def _accuracy(
    name: str, reference: str | None, candidate: str | None, n: int
) -> Iterator[tuple[str, _Pair]]:
    if reference is None or candidate is None:
        yield name, _Pair(None)
        yield f"{name}_drop", _Pair(None)
        return
    right_reference, right_candidate = reference.count("1"), candidate.count("1")
    yield name, _Pair(100.0 * right_candidate / n, 100.0 * right_reference / n)
    # From the counts, not from the two rounded shares: 5 of 500 is 1 pp exactly.
    drop = 100.0 * (right_reference - right_candidate) / n
    observed = counts(reference, candidate)
    low, high = interval(observed)
    yield f"{name}_drop", _Pair(drop, paired=observed, low=100.0 * low, high=100.0 * high)


def _timing(observation: Observation) -> _Values:
    observed = observation.timing
    fault = timing_fault(observed)
    if observed is None or fault:
        return fault
    reference, candidate = observed.reference_wall_ns, observed.candidate_wall_ns

    def both(function: Callable[[tuple[int, ...]], float | None]) -> _Pair:
        return _Pair(function(candidate), function(reference))

    return {
        "latency_p50": both(lambda samples: timing.percentile_ms(samples, 50)),
        "latency_p90": both(lambda samples: timing.percentile_ms(samples, 90)),
        "latency_p99": both(lambda samples: timing.percentile_ms(samples, 99)),
        "throughput": both(lambda samples: timing.throughput_fps(samples, observed.batch)),
        **_ratios(observation, observed),
    }


def _ratios(observation: Observation, observed: TimingObserved) -> dict[str, _Pair]:
    """Paired with the reference and with the baseline's artifact, round by round."""
    slowdown = _scaled(ratio(observation, Against.BASE), lambda r: 100.0 * (r - 1.0))
    if not launched(observed):
        paired = timing.speedup(observed.reference_wall_ns, observed.candidate_wall_ns)
        inverse = 1.0 / paired if paired else None
        return {
            "speedup": _Pair(paired),
            "latency_ratio": _Pair(inverse),
            "slowdown": slowdown,
        }
    found = ratio(observation, Against.REFERENCE)
    return {
        "speedup": _scaled(found, lambda r: 1.0 / r),
        "latency_ratio": _scaled(found, lambda r: r),
        "slowdown": slowdown,
    }


def _scaled(found: Ratio | None, function: Callable[[float], float]) -> _Pair:
    """A ratio's value and interval after a monotonic function."""
    if found is None:
        return _Pair(None)
    ends = [function(end) for end in (found.low, found.high) if end is not None]
    low, high = (min(ends), max(ends)) if len(ends) == 2 else (None, None)
    return _Pair(function(found.median), low=low, high=high)


def _resources(observed: ResourcesObserved | None) -> _Values:
    if observed is None:
        return "sizes, memory and load time were not observed"
    size = _Pair(_positive(observed.candidate_size_bytes), _positive(observed.reference_size_bytes))
    ratio = size.reference / size.candidate if size.reference and size.candidate else None
    return {
        "size": size,
        "size_ratio": _Pair(ratio),
        "packed_size": _Pair(
            _positive(observed.candidate_packed_bytes), _positive(observed.reference_packed_bytes)
        ),
        "activation_memory": _Pair(
            _positive(observed.candidate_activation_bytes),
            _positive(observed.reference_activation_bytes),
        ),
        "peak_memory": _Pair(_positive(observed.peak_memory_bytes)),
        "load_time": _Pair(
            _positive(observed.load_seconds, 1e3), _positive(observed.reference_load_seconds, 1e3)
        ),
        "load_cpu": _Pair(
            _positive(observed.load_cpu_seconds, 1e3),
            _positive(observed.reference_load_cpu_seconds, 1e3),
        ),
    }


def _positive(value: float | None, factor: float = 1.0) -> float | None:
    """``value`` times ``factor``; None for what no real model can have (0 bytes, NaN seconds)."""
    return float(value) * factor if value is not None and value > 0 else None
