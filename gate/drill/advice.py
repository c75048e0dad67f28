"""Which tolerance would have caught a fault: measured, out of the noise, and as loose as it may be. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.core.status import Tier
from gate.core.tolerance import Op
from gate.core.verdict import Measurement
from gate.drill.noise import Infos, Noise, demanding, has_scale, relative, worse_by
from gate.judge.device import TIME_METRICS
from gate.metrics.catalogue import BY_NAME, MetricInfo

MARGIN = 0.8
"""Part of the distance from the healthy to the faulty value that an advised bound allows."""


UNSTEADY = (TIME_METRICS - {"load_cpu"}) | {"speedup", "latency_ratio"}
"""Times of one run beside those of another: load decides them. ``slowdown`` is paired with the
baseline's own artifact, and may be bounded; ``load_cpu`` is CPU time, the shortest of several, and a
bound on the baseline's follows the reference's pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One measurement of a broken candidate beside the healthy one."""

    info: MetricInfo
    subject: str
    healthy: float
    faulty: float | None
    """None where the broken candidate has no value, which the judge never lets pass."""
    band: float
    """What healthy repeats may differ by."""

    @property
    def tier(self) -> Tier:
        """Of the metric."""
        return self.info.tier

    @property
    def metric(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def worse_by(self) -> float:
        """In the metric's unit; infinite without a value."""
        if self.faulty is None:
            return math.inf
        return worse_by(self.info, self.healthy, self.faulty)

    @property
    def separation(self) -> float:
        """Distance in bands: above 1 / MARGIN, a bound fits between noise and fault."""
        return self.worse_by / self.band


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A tolerance that would have caught a fault."""

    shift: Shift
    allowed: float
    """How much worse than healthy the advised bound lets the metric be, in its unit."""
    text: str
    """As it would be written in a spec."""

    @property
    def key(self) -> str:
        """Where it would stand: ``layers.sqnr``."""
        return f"{self.shift.tier}.{self.shift.metric}"


def shifts_of(
    healthy: Iterable[Measurement],
    faulty: Iterable[Measurement],
    noise: Noise,
    infos: Infos = BY_NAME,
) -> tuple[Shift, ...]:
    """The worst subject of every metric that has a healthy value, largest separation first."""
    broken = {(m.tier, m.metric, m.subject): m for m in faulty}
    worst: dict[tuple[Tier, str], Shift] = {}
    for one in healthy:
        other = broken.get((one.tier, one.metric, one.subject))
        if one.value is None or other is None:
            continue
        if one.tier is Tier.DEVICE and (other.value is None or one.metric in UNSTEADY):
            continue  # not timed, because the fault cannot change it; or no more than chance
        info = infos[one.tier, one.metric]
        if not has_scale(info) or info.subject == "class":
            continue  # of a class there are so few samples that one of them decides
        shift = Shift(
            info=info,
            subject=one.subject,
            healthy=one.value,
            faulty=other.value,
            band=noise.band(info, one.subject, one.value),
        )
        known = worst.get((one.tier, one.metric))
        if known is None or shift.separation > known.separation:
            worst[one.tier, one.metric] = shift
    return tuple(sorted(worst.values(), key=lambda s: -s.separation))


def advise(shifts: Sequence[Shift]) -> Advice | None:
    """The tolerance on the metric that tells the fault from noise best; None where none does.

    The bound is the loosest that leaves a fifth of the distance to the faulty value, rounded towards
    the healthy one, and it is never inside the band.
    """
    for shift in sorted(shifts, key=lambda s: -s.separation):
        if shift.faulty is None or shift.separation * MARGIN <= 1.0:
            continue
        allowed = rounded(MARGIN * shift.worse_by, least=shift.band)
        return Advice(shift=shift, allowed=allowed, text=baseline_bound(shift, allowed))
    return None


def rounded(value: float, *, least: float) -> float:
    """``value`` to two significant digits, towards zero, but not below ``least``.

    >>> rounded(1.678, least=1.0), rounded(1.04, least=1.03), rounded(0.0123, least=0.0)
    (1.6, 1.04, 0.012)
    """
    if value <= 0.0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    down = float(f"{math.floor(value / unit + 1e-9) * unit:.12g}")
    return down if down >= least else value


def baseline_bound(shift: Shift, allowed: float) -> str:
    """``>= baseline - 1.6 dB``; the metric that is met or not is simply demanded."""
    percent = relative(shift.info) and shift.healthy != 0.0
    if percent:
        allowed = rounded(100.0 * allowed / abs(shift.healthy), least=0.0)
    return offset_text(shift.info, allowed, percent=percent)


def offset_text(info: MetricInfo, allowed: float, *, percent: bool) -> str:
    """``<= baseline + 30 %``: as bad as the baseline, and ``allowed`` worse."""
    if info.unit == "bool":
        return "true"
    op = demanding(info)
    sign = "+" if op is Op.LE else "-"
    unit = "%" if percent else ("pp" if info.unit == "%" else info.unit)
    return f"{op} baseline {sign} {allowed:.12g} {unit}".rstrip()
