"""Bounds of a first spec: the worst of the healthy runs, with room for the noise that they did not show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.core.observation import Observation
from gate.core.status import Tier
from gate.judge.measure import Measured, measure
from gate.metrics.catalogue import CATALOGUE, Direction
from gate.report.format import quantity
from gate.spec.first import Bound


@dataclass(frozen=True, slots=True)
class _Rule:
    """How far from the worst value the bound of a metric is put."""

    tier: Tier
    metric: str
    loosen: Callable[[float], float]
    least: float = -math.inf
    """A bound below it says nothing."""


_RULES = (
    _Rule(Tier.NUMERICAL, "sqnr", lambda worst: math.floor(worst - 3.0)),
    _Rule(Tier.NUMERICAL, "top1_agreement", lambda worst: math.floor(worst - 3.0), 1.0),
    _Rule(Tier.LAYERS, "quantized_ops", math.floor, 1.0),
    _Rule(Tier.LAYERS, "sqnr", lambda worst: math.floor(worst - 3.0)),
    _Rule(Tier.DEVICE, "top1_drop", lambda worst: max(1.0, math.ceil(worst + 1.0))),
    _Rule(Tier.DEVICE, "size_ratio", lambda worst: math.floor(worst * 9.0) / 10.0, 1.0),
    _Rule(Tier.DEVICE, "speedup", lambda worst: math.floor(worst * 6.0) / 10.0, 0.1),
)


def suggest(observed: Sequence[Observation]) -> tuple[Bound, ...]:
    """Bounds that all of ``observed`` keep, for the metrics that say most about a candidate."""
    directions = {(info.tier, info.name): info for info in CATALOGUE}
    measured = [measure(observation) for observation in observed]
    bounds: list[Bound] = []
    for rule in _RULES:
        info = directions[rule.tier, rule.metric]
        values = _values(measured, rule)
        if values is None:
            continue
        higher = info.direction is Direction.HIGHER
        worst = min(values) if higher else max(values)
        bound = rule.loosen(worst)
        if bound < rule.least:
            continue
        text = f"{'>=' if higher else '<'} {bound:g} {info.unit}".rstrip()
        span = f"{quantity(min(values), info.unit)} to {quantity(max(values), info.unit)}"
        bounds.append(Bound(tier=rule.tier, metric=rule.metric, text=text, measured=span))
    return tuple(bounds)


def _values(measured: Sequence[Measured], rule: _Rule) -> list[float] | None:
    """Every value of the metric; None where it is missing in any run."""
    values: list[float] = []
    for one in measured:
        found = one.of(rule.tier, rule.metric)
        if not found or any(m.value is None for m in found):
            return None
        values.extend(m.value for m in found if m.value is not None)
    return values
