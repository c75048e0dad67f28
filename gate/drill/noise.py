"""How far healthy runs of one candidate lie apart, and what is out of that noise. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gate.core.case import Case
from gate.core.status import Tier
from gate.core.task import CUSTOM
from gate.core.tolerance import Op
from gate.core.verdict import Measurement
from gate.metrics.catalogue import BY_NAME, Direction, MetricInfo
from gate.metrics.task_catalogue import custom_infos

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
    **dict.fromkeys(("load_time", "load_cpu"), 0.50),
    "speedup": 0.10,
}
_LEAST = {
    "bias": 0.5,
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
_COUNTED = frozenset(
    {"top1", "top5", "top1_drop", "top5_drop", "top1_agreement", "worst_class_drop"}
)
_LEAST_SAMPLES = 2
"""Samples near a border that may fall on either side of it: few samples make a large share."""

Key = tuple[Tier, str, str]
"""Tier, metric, subject."""
Infos = Mapping[tuple[Tier, str], MetricInfo]
"""What is known of the metrics of a case."""


def infos_of(case: Case) -> Infos:
    """The catalogue, and the metrics that the case's spec declares itself."""
    own = [info for metric in case.metrics for info in custom_infos(metric)]
    return {**BY_NAME, **{(info.tier, info.name): info for info in own}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Standard deviation of every measurement over healthy repeats, and how many there were."""

    repeats: int = 1
    sigma: Mapping[Key, float] = field(default_factory=dict)
    samples: int = 0
    """That accuracies are shares of; 0 where that is not known."""

    def band(self, info: MetricInfo, subject: str, healthy: float) -> float:
        """max(the least that is granted, 4 sigma), in the metric's unit."""
        spread = self.sigma.get((info.tier, info.name, subject), 0.0)
        counted = info.name in _COUNTED and self.samples > 0
        share = 100.0 * _LEAST_SAMPLES / self.samples if counted else 0.0
        return max(least_band(info, healthy), share, SIGMAS * spread)


def least_band(info: MetricInfo, healthy: float) -> float:
    """What any healthy repeat is granted: never zero, so that no bound is put on the value itself.

    >>> least_band(BY_NAME[Tier.LAYERS, "sqnr"], 30.0), least_band(BY_NAME[Tier.DEVICE, "size"], 1000.0)
    (1.0, 10.0)
    """
    if info.unit in _LEAST_BY_UNIT:
        return _LEAST_BY_UNIT[info.unit]
    if info.name in _LEAST:
        return _LEAST[info.name]
    if info.name == "cosine":
        return 0.26 * max(1.0 - healthy, 1e-6)
    return _LEAST_RELATIVE.get(info.name, _LEAST_RELATIVE_DEFAULT) * max(abs(healthy), 1e-12)


def has_scale(info: MetricInfo) -> bool:
    """Whether a value tells what noise to grant it. The paired difference of a custom metric in a
    unit of its own is near zero while healthy; the metric itself says the same, from a baseline."""
    difference = info.name.startswith(CUSTOM) and info.has_interval
    return not difference or info.unit in _LEAST_BY_UNIT


def relative(info: MetricInfo) -> bool:
    """Whether an offset from the baseline reads best in per cent of it: powers and costs, which
    differ by orders of magnitude between layers and models."""
    name = info.name
    return info.unit not in ("dB", "pp", "bool") and name not in _LEAST and name != "cosine"


def noise_of(runs: Sequence[Iterable[Measurement]], *, samples: int = 0) -> Noise:
    """Noise over healthy repeats on ``samples`` samples; a measurement that is missing in one of them
    is left out."""
    values: dict[Key, list[float]] = {}
    for run in runs:
        for one in run:
            if one.value is not None:
                values.setdefault((one.tier, one.metric, one.subject), []).append(one.value)
    return Noise(
        repeats=len(runs),
        samples=samples,
        sigma={
            key: statistics.stdev(found) for key, found in values.items() if len(found) == len(runs)
        }
        if len(runs) > 1
        else {},
    )


def worse_by(info: MetricInfo, healthy: float, faulty: float) -> float:
    """How much worse a value is, in the metric's unit; negative where it is better."""
    return faulty - healthy if info.direction is Direction.LOWER else healthy - faulty


def demanding(info: MetricInfo) -> Op:
    """The comparison that bounds a metric on its bad side."""
    return Op.LE if info.direction is Direction.LOWER else Op.GE
