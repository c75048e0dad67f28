"""An observation as measurements: one value (or the reason for none) a metric and subject."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gate.core.observation import Observation
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.judge.device import device
from gate.judge.layers import computing, execution_order, layers
from gate.judge.numerical import numerical
from gate.judge.wording import names
from gate.metrics.intervals import DropInterval
from gate.metrics.paired import PairedCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All measurements of one observation."""

    values: Mapping[tuple[Tier, str], tuple[Measurement, ...]]
    """(tier, metric) -> its subjects: outputs in the model's order, layers in order of execution."""
    reference: Mapping[tuple[Tier, str], float]
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
    order: tuple[str, ...] = ()
    if with_layers and observation.layers is not None:
        order = execution_order(observation.layers)
        found += _with_names(layers(observation.layers), observation)
    on_device = device(observation)
    found += on_device.measurements
    groups: dict[tuple[Tier, str], list[Measurement]] = {}
    for measurement in found:
        key = (measurement.tier, measurement.metric)
        groups.setdefault(key, []).append(_finite(measurement))
    return Measured(
        values={key: tuple(group) for key, group in groups.items()},
        reference={
            (Tier.DEVICE, name): value
            for name, value in on_device.reference.items()
            if math.isfinite(value)
        },
        layer_order=order,
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
