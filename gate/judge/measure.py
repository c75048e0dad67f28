"""An observation as measurements: one value (or the reason for none) a metric and subject."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from gate.core.observation import Observation
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.judge.classes import CLASS_METRICS, by_class
from gate.judge.device import device
from gate.judge.layers import ERROR_METRICS, Ordered, built, computing, errors, ordered
from gate.judge.numerical import numerical
from gate.judge.wording import names
from gate.metrics.intervals import DropInterval
from gate.metrics.paired import PairedCounts

Key: TypeAlias = tuple[Tier, str]
"""Tier and metric."""


class Groups(Mapping[Key, tuple[Measurement, ...]]):
    """Measurements by metric. Those of every layer and of every class are most of them, and few of them
    are asked for: each metric of these is computed when it is."""

    def __init__(
        self,
        ready: Mapping[Key, tuple[Measurement, ...]],
        later: Mapping[Key, Callable[[], Iterable[Measurement]]] | None = None,
    ) -> None:
        self._ready = dict(ready)
        self._later = later or {}

    def __getitem__(self, key: Key) -> tuple[Measurement, ...]:
        if key not in self._ready and key in self._later:
            self._ready[key] = tuple(map(_finite, self._later[key]()))
        return self._ready[key]

    def __iter__(self) -> Iterator[Key]:
        # The order is that of a baseline's lines.
        keys = (
            key
            for tier in Tier
            for keys in (self._ready, self._later)
            for key in keys
            if key[0] is tier
        )
        return iter(dict.fromkeys(keys))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def but(self, changed: Mapping[Key, tuple[Measurement, ...]]) -> Groups:
        """The same with other measurements of some metrics."""
        return Groups({**self._ready, **changed}, self._later)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All measurements of one observation."""

    values: Groups
    """Metric -> its subjects: outputs in the model's order, layers in order of execution."""
    reference: Mapping[Key, float]
    """The reference's own value of the metrics that have one."""
    layer_order: tuple[str, ...]
    """Names of the layers in order of execution."""
    paired: Mapping[str, PairedCounts] = field(default_factory=dict)
    """Device metric -> the counts behind its interval."""
    drops: Mapping[str, DropInterval] = field(default_factory=dict)
    """Device metric -> its interval, where it is no count of right and wrong samples."""

    def of(self, tier: Tier, metric: str) -> tuple[Measurement, ...]:
        """Measurements of one metric; empty where its tier was not observed."""
        return self.values.get((tier, metric), ())

    def __iter__(self) -> Iterator[Measurement]:
        for group in self.values.values():
            yield from group


def measure(observation: Observation, *, with_layers: bool = True) -> Measured:
    """Compute every metric of ``gate.metrics.catalogue`` that the observation holds facts for, those
    of the layers only ``with_layers``.

    A value is finite or None with its reason: NaN and infinities never leave here.
    """
    found: list[Measurement] = list(numerical(observation))
    layers: Ordered | None = None
    later: dict[Key, Callable[[], Iterable[Measurement]]] = {
        (Tier.DEVICE, metric): partial(by_class, observation, metric) for metric in CLASS_METRICS
    }
    if with_layers and observation.layers is not None:
        layers = ordered(observation.layers)
        found += _with_names(built(layers), observation)
        for metric in ERROR_METRICS:
            later[Tier.LAYERS, metric] = partial(errors, layers, metric)
    on_device = device(observation)
    found += on_device.measurements
    groups: dict[Key, list[Measurement]] = {}
    for measurement in found:
        key = (measurement.tier, measurement.metric)
        groups.setdefault(key, []).append(_finite(measurement))
    return Measured(
        values=Groups({key: tuple(group) for key, group in groups.items()}, later),
        reference={
            (Tier.DEVICE, name): value
            for name, value in on_device.reference.items()
            if math.isfinite(value)
        },
        layer_order=layers.names if layers is not None else (),
        paired=on_device.paired,
        drops=on_device.drops,
    )


_OF_WEIGHTS = frozenset({"int8_params", "weight_bits"})


def _finite(measurement: Measurement) -> Measurement:
    value = measurement.value
    if value is None or math.isfinite(value):
        return measurement
    return replace(measurement, value=None, why_none=f"the value is {value}")


def _with_names(
    measurements: Iterable[Measurement], observation: Observation
) -> Iterator[Measurement]:
    """Name the layers behind the numbers that count them."""
    rows = computing(observation.layers.candidate) if observation.layers else ()
    computed = [row.name for row in rows if not row.quantized]
    # Weight-only methods compute in floating point on weights of few bits.
    stored = [row.name for row in rows if row.params > row.params_quantized + row.params_half]
    for measurement in measurements:
        left = stored if measurement.metric in _OF_WEIGHTS else computed
        counts = measurement.subject == "case" and measurement.value is not None and left
        yield replace(measurement, detail=f"in float: {names(left)}") if counts else measurement
