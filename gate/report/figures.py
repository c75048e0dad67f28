"""The few numbers of a case that a person asks for first, whether or not the spec bounds them."""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.judge.measure import Measured, measure
from gate.judge.tasks import headline
from gate.report.format import quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Headline numbers, full precision; None where the case did not observe them."""

    top1_drop_pp: float | None = None
    top1_drop_low_pp: float | None = None
    """Interval of the drop in general, by the samples seen."""
    top1_drop_high_pp: float | None = None
    task_drop: Measurement | None = None
    """What is lost at a task that is no classification, in the metric that such tasks are known by."""
    relative_mse_percent: float | None = None
    """Of the worst output."""
    sqnr_db: float | None = None
    """Of the worst output."""
    speedup: float | None = None
    size_ratio: float | None = None
    """Reference bytes over candidate bytes."""


# Several reports of one run ask for the same, and who judged has measured already.
_KNOWN: dict[int, tuple[Observation, Figures]] = {}
_MOST_KNOWN = 20_000


def figures(result: CaseResult | None) -> Figures:
    """Take the headline numbers from the raw facts, as the judge measures them."""
    if result is None or result.observation is None:
        return Figures()
    known = _KNOWN.get(id(result.observation))
    if known is not None:
        return known[1]
    return remember(result.observation, measure(result.observation, with_layers=False))


def remember(observation: Observation, measured: Measured) -> Figures:
    """The headline numbers of what was measured, kept for whoever asks for the observation's."""
    found = _figures(observation, measured)
    keep(observation, found)
    return found


def forget() -> None:
    """Know nothing, and hold no observation."""
    _KNOWN.clear()


def keep(observation: Observation, numbers: Figures) -> None:
    """Know the headline numbers of an observation from now on."""
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    # The observation is kept beside its figures, so that its identity is not given to another.
    _KNOWN[id(observation)] = (observation, numbers)


def _figures(observation: Observation, measured: Measured) -> Figures:
    def values(tier: Tier, metric: str) -> list[float]:
        return [m.value for m in measured.of(tier, metric) if m.value is not None]

    drop = next(iter(measured.of(Tier.DEVICE, "top1_drop")), None)
    return Figures(
        top1_drop_pp=drop.value if drop is not None else None,
        top1_drop_low_pp=drop.low if drop is not None else None,
        top1_drop_high_pp=drop.high if drop is not None else None,
        task_drop=_task_drop(observation, measured),
        relative_mse_percent=max(values(Tier.NUMERICAL, "relative_mse"), default=None),
        sqnr_db=min(values(Tier.NUMERICAL, "sqnr"), default=None),
        speedup=min(values(Tier.DEVICE, "speedup"), default=None),
        size_ratio=min(values(Tier.DEVICE, "size_ratio"), default=None),
    )


def _task_drop(observation: Observation, measured: Measured) -> Measurement | None:
    metric = headline(observation.scores.task) if observation.scores is not None else None
    if metric is None:
        return None
    return next((m for m in measured.of(Tier.DEVICE, metric) if m.value is not None), None)


def drop_value(numbers: Figures) -> float | None:
    """What is lost at the task, in the unit of its metric."""
    return numbers.task_drop.value if numbers.task_drop is not None else numbers.top1_drop_pp


def drop_text(numbers: Figures) -> str:
    """What is lost at the task, with its metric where that is not top-1: ``0.4 pp map``."""
    drop = numbers.task_drop
    if drop is None:
        return quantity(numbers.top1_drop_pp, "pp")
    name = drop.metric.removesuffix("_drop").removesuffix("_rise")
    return f"{quantity(drop.value, drop.unit)} {name}"
