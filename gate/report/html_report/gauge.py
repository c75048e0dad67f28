"""One rule as a small picture: the measured value, its interval, the bound and the baseline on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.core.status import Status
from gate.core.tolerance import Op
from gate.report.format import apart, quantity
from gate.report.html_report import svg
from gate.report.html_report.scale import Scale, fitted

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 250.0, 44.0
_EDGE = 8.0
_AXIS = 16.0
_TEXT = 38.0
_LABEL_ROOM = 46.0
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement and its bound, in the metric's unit."""

    value: float
    bound: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None

    def relative(self) -> Reading:
        """The same counted from the bound."""
        shift = self.bound
        return Reading(
            value=self.value - shift,
            bound=0.0,
            low=self.low - shift if self.low is not None else None,
            high=self.high - shift if self.high is not None else None,
            baseline=self.baseline - shift if self.baseline is not None else None,
        )


def gauge(readings: Sequence[Reading], *, op: Op, unit: str, status: Status) -> Markup:
    """Draw the first reading large and the others as ticks.

    Readings with bounds of their own (a baseline a layer) share an axis that counts from the
    bound. The allowed side of the bound is a solid bar, the other one a dashed line; a value that
    failed is a cross, one that passed a disc.
    """
    spread = max(abs(r.bound - readings[0].bound) for r in readings)
    shared = spread <= _SAME * max(1.0, abs(readings[0].bound))
    drawn = readings if shared else [reading.relative() for reading in readings]
    main, others = drawn[0], drawn[1:]
    points = [main.value, main.bound, *(r.value for r in others)]
    points += [v for v in (main.low, main.high, main.baseline) if v is not None]
    axis = fitted(points, _EDGE, WIDTH - _EDGE, margin=0.12)
    named = quantity(main.bound, unit) if shared else "bound"
    parts = [*_bar(axis, main.bound, op), *_others(axis, others)]
    parts += _labels(axis, main.bound, unit, named)
    if main.low is not None and main.high is not None:
        parts += _whisker(axis, main.low, main.high)
    if main.baseline is not None:
        parts.append(_flag(axis(main.baseline)))
    parts.append(_value(axis(main.value), status))
    return svg.drawing(
        WIDTH, HEIGHT, parts, label=_spoken(readings, op, unit, shared=shared), class_="gauge"
    )


def _bar(axis: Scale, bound: float, op: Op) -> Iterator[Markup]:
    left, right, at = axis.start, axis.end, axis(bound)
    yield svg.line(left, _AXIS, right, _AXIS, "g-out")
    if op is not Op.EQ:
        start, end = (left, at) if op in (Op.LT, Op.LE) else (at, right)
        yield svg.tag(
            "rect", x=start, y=_AXIS - 4, width=max(end - start, 0.0), height=8, class_="g-in"
        )
    yield svg.line(at, _AXIS - 9, at, _AXIS + 10, "g-bound")


def _others(axis: Scale, others: Sequence[Reading]) -> Iterator[Markup]:
    places = sorted({round(axis(reading.value)) for reading in others})
    if places:
        marks = "".join(f"M{place} {_AXIS - 5:g}v10" for place in places)
        yield svg.tag("path", d=marks, class_="g-other")


def _labels(axis: Scale, bound: float, unit: str, named: str) -> Iterator[Markup]:
    at = axis(bound)
    room = _LABEL_ROOM / 2
    place = min(max(at, room), WIDTH - room)
    yield svg.text(place, _TEXT, named, class_="g-at", anchor="middle")
    taken = [place]
    for tick in sorted(axis.ticks(4), key=lambda value: -abs(axis(value) - at)):
        x = axis(tick)
        if room <= x <= WIDTH - room and all(abs(x - other) >= _LABEL_ROOM for other in taken):
            taken.append(x)
            # Counted from the bound, a place is a difference and has a sign.
            sign = "+" if named == "bound" and tick > 0 else ""
            label = f"{sign}{quantity(tick, unit)}"
            yield svg.text(x, _TEXT, label, class_="g-tick", anchor="middle")
            yield svg.line(x, _AXIS + 5, x, _AXIS + 9, "g-notch")


def _whisker(axis: Scale, low: float, high: float) -> Iterator[Markup]:
    left, right = axis(low), axis(high)
    ends = f"M{svg.number(left)} {_AXIS - 5:g}v10M{svg.number(right)} {_AXIS - 5:g}v10"
    yield svg.tag(
        "path",
        d=f"M{svg.number(left)} {_AXIS:g}H{svg.number(right)}{ends}",
        class_="g-interval",
    )


def _flag(x: float) -> Markup:
    return svg.tag("path", d=f"M{svg.number(x)} {_AXIS - 6:g}l-5-8h10z", class_="g-base")


def _value(x: float, status: Status) -> Markup:
    if status is Status.PASS:
        return svg.tag("circle", cx=x, cy=_AXIS, r=4.5, class_="g-pass")
    if status is Status.INCONCLUSIVE:
        return svg.tag("circle", cx=x, cy=_AXIS, r=4.5, class_="g-open")
    cross = f"M{svg.number(x - 5)} {_AXIS - 5:g}l10 10m0-10l-10 10"
    return svg.tag("path", d=cross, class_="g-fail")


def _spoken(readings: Sequence[Reading], op: Op, unit: str, *, shared: bool) -> str:
    main = readings[0]
    value, bound = apart(main.value, main.bound, unit)
    words = [f"measured {value}"]
    if main.low is not None and main.high is not None:
        words.append(f"interval {quantity(main.low, unit)} to {quantity(main.high, unit)}")
    words.append(f"bound {op.value} {bound}")
    if main.baseline is not None:
        words.append(f"baseline {quantity(main.baseline, unit)}")
    if len(readings) > 1:
        others = f"{len(readings) - 1} others drawn as ticks"
        words.append(others if shared else f"{others}, each counted from its own bound")
    return ", ".join(words)
