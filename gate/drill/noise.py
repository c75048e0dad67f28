"""How far healthy runs of one candidate lie apart, and what is out of that noise. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gate.core.status import Tier
from gate.core.tolerance import Op
from gate.core.verdict import Measurement
from gate.metrics.catalogue import BY_NAME, Direction

SIGMAS = 4.0
"""Half-width of a band in standard deviations of healthy repeats."""

# What a repeat on another day, core or sample order is granted even where the repeats at hand do not
# differ at all: 1 dB, as recordings of healthy runs suggest, and its like for other units.
_LEAST_BY_UNIT = {"dB": 1.0, "pp": 0.25, "bool": 0.5}
_LEAST_RELATIVE = {
    # 1 dB of power
    **dict.fromkeys(
        (
            "relative_mse",
            "worst_channel_nmse",
            "isolated_worst_channel_nmse",
            "kl_divergence",
        ),
        0.26,
    ),
    "max_abs_error": 0.12,  # 1 dB of amplitude
    "size": 0.01,
    "size_ratio": 0.01,
    "packed_size": 0.01,
    "activation_memory": 0.01,
    "peak_memory": 0.10,
    "load_time": 0.50,
    "speedup": 0.10,
}
_LEAST = {
    "bias": 0.5,
    "isolated_bias": 0.5,
    "top1": 0.25,
    "top5": 0.25,
    "top1_agreement": 0.5,
    "quantized_ops": 0.1,
    "int8_params": 0.1,
    "int8_macs": 0.1,
    "float_layers": 0.5,
    "new_flips": 0.5,
    "slowdown": 2.0,
}
_LEAST_RELATIVE_DEFAULT = 0.05

Key = tuple[Tier, str, str]
"""Tier, metric, subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Standard deviation of every measurement over healthy repeats, and how many there were."""

    repeats: int = 1
    sigma: Mapping[Key, float] = field(default_factory=dict)

    def band(self, key: Key, healthy: float) -> float:
        """max(the least that is granted, 4 sigma), in the metric's unit."""
        return max(least_band(key[0], key[1], healthy), SIGMAS * self.sigma.get(key, 0.0))


def least_band(tier: Tier, metric: str, healthy: float) -> float:
    """What any healthy repeat is granted: never zero, so that no bound is put on the value itself.

    >>> least_band(Tier.LAYERS, "sqnr", 30.0), least_band(Tier.DEVICE, "size", 1000.0)
    (1.0, 10.0)
    """
    info = BY_NAME[tier, metric]
    if info.unit in _LEAST_BY_UNIT:
        return _LEAST_BY_UNIT[info.unit]
    if metric in _LEAST:
        return _LEAST[metric]
    if metric == "cosine":
        return 0.26 * max(1.0 - healthy, 1e-6)
    return _LEAST_RELATIVE.get(metric, _LEAST_RELATIVE_DEFAULT) * max(abs(healthy), 1e-12)


def relative(tier: Tier, metric: str) -> bool:
    """Whether an offset from the baseline reads best in per cent of it: powers and costs, which
    differ by orders of magnitude between layers and models."""
    info = BY_NAME[tier, metric]
    return info.unit not in ("dB", "pp", "bool") and metric not in _LEAST and metric != "cosine"


def noise_of(runs: Sequence[Iterable[Measurement]]) -> Noise:
    """Noise over healthy repeats; a measurement that is missing in one of them is left out."""
    values: dict[Key, list[float]] = {}
    for run in runs:
        for one in run:
            if one.value is not None:
                values.setdefault((one.tier, one.metric, one.subject), []).append(one.value)
    return Noise(
        repeats=len(runs),
        sigma={
            key: statistics.stdev(found) for key, found in values.items() if len(found) == len(runs)
        }
        if len(runs) > 1
        else {},
    )


def worse_by(tier: Tier, metric: str, healthy: float, faulty: float) -> float:
    """How much worse a value is, in the metric's unit; negative where it is better."""
    lower = BY_NAME[tier, metric].direction is Direction.LOWER
    return faulty - healthy if lower else healthy - faulty


def demanding(tier: Tier, metric: str) -> Op:
    """The comparison that bounds a metric on its bad side."""
    return Op.LE if BY_NAME[tier, metric].direction is Direction.LOWER else Op.GE
