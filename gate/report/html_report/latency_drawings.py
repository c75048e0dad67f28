"""Drawings of latencies: two histograms back to back, and ratios round by round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gate.judge.wording import count
from gate.report.format import quantity
from gate.report.html_report import svg
from gate.report.html_report.scale import Scale, fitted

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 540.0
_SPREAD_HEIGHT, _ROUNDS_HEIGHT = 176.0, 176.0
_LEFT, _RIGHT = 76.0, 14.0
_WORDS = 66.0
"""Room at the right of rounds for what their median is."""
_BINS = 48
_MIDDLE, _REACH = 74.0, 50.0
_MANY = 200


def spread(a: Sequence[float], b: Sequence[float], limit: float) -> Markup:
    """Histograms of the reference (up) and the candidate (down) on one axis in ms, medians marked.

    Values above ``limit`` are left out.
    """
    low = min(*a, *b)
    axis = fitted([low, limit], _LEFT, WIDTH - _RIGHT, margin=0.03)
    pixels = np.linspace(axis.start, axis.end, _BINS + 1)
    counts = [
        np.histogram([axis(v) for v in side if v <= limit], bins=pixels)[0] for side in (a, b)
    ]
    most = max(1, *(int(c.max()) for c in counts))
    parts: list[Markup] = []
    for taken, sign, name in ((counts[0], -1, "a"), (counts[1], 1, "b")):
        bars = "".join(
            f"M{svg.number(left)} {_MIDDLE:g}v{svg.number(sign * _REACH * n / most)}"
            f"h{svg.number(right - left)}V{_MIDDLE:g}z"
            for (left, right), n in zip(pairwise(pixels.tolist()), taken.tolist(), strict=True)
            if n
        )
        parts.append(svg.tag("path", d=bars, class_=f"l-{name}"))
    parts.append(svg.line(axis.start, _MIDDLE, axis.end, _MIDDLE, "p-grid"))
    for values, top, at in (
        (a, _MIDDLE - _REACH - 4, _MIDDLE - _REACH - 8),
        (b, _MIDDLE, _MIDDLE + _REACH + 15),
    ):
        x = axis(median(values))
        parts.append(svg.line(x, top, x, top + _REACH + 4, "l-mid"))
        anchor = "start" if x < WIDTH * 0.75 else "end"
        label = f"median {quantity(median(values), 'ms')}"
        parts.append(svg.text(x, at, label, class_="p-label", anchor=anchor))
    parts.append(svg.text(4, _MIDDLE - 20, "reference", class_="p-text"))
    parts.append(svg.text(4, _MIDDLE + 28, "candidate", class_="p-text"))
    parts += _axis(axis, _MIDDLE + _REACH + 24)
    label = (
        f"wall time of a run: reference median {quantity(median(a), 'ms')}, "
        f"candidate median {quantity(median(b), 'ms')}"
    )
    return svg.drawing(WIDTH, _SPREAD_HEIGHT, parts, label=label, class_="spread")


def _axis(axis: Scale, at: float) -> Iterator[Markup]:
    yield svg.line(axis.start, at, axis.end, at, "p-axis")
    for tick in axis.ticks(6):
        x = axis(tick)
        yield svg.line(x, at, x, at + 4, "p-axis")
        yield svg.text(x, at + 17, quantity(tick, "ms"), class_="p-text", anchor="middle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Ratios of paired rounds, and what belongs beside them."""

    launches: Sequence[Sequence[float]]
    unit: str
    none: float
    """The value that means no difference."""
    title: str
    interval: tuple[float, float] | None
    """Of the median over all rounds."""
    bounds: Sequence[float]
    confirming: int | None
    """Index of the first launch of a set that was to confirm; None without one."""


def rounds(given: Rounds) -> Markup:
    """Every round as a dot in the order they were taken; the median over all of them, its interval
    and the bounds as lines."""
    top, bottom = 24.0, 132.0
    values = list(chain.from_iterable(given.launches))
    # A round that was disturbed on one side alone must not flatten the others.
    shown = np.percentile(values, [2.0, 98.0]).tolist() if len(values) >= 20 else values
    interval = given.interval or ()
    y = fitted([*shown, *given.bounds, *interval, given.none], bottom, top, margin=0.06, log=False)
    right = WIDTH - _WORDS
    parts: list[Markup] = [svg.text(4, 12, given.title, class_="p-text")]
    if given.interval is not None:
        edge, base = y(given.interval[1]), y(given.interval[0])
        parts.append(
            svg.tag(
                "rect",
                x=_LEFT,
                y=edge,
                width=right - _LEFT,
                height=max(1.0, base - edge),
                class_="l-interval",
            )
        )
    for tick in y.ticks(4):
        parts.append(svg.line(_LEFT, y(tick), right, y(tick), "p-grid"))
        label = quantity(tick, given.unit)
        parts.append(svg.text(_LEFT - 6, y(tick) + 4, label, class_="p-text", anchor="end"))
    parts.append(svg.line(_LEFT, y(given.none), right, y(given.none), "l-one"))
    parts += [svg.line(_LEFT, y(bound), right, y(bound), "p-bound") for bound in given.bounds]
    parts.append(_dots(values, y))
    parts.append(svg.line(_LEFT, y(median(values)), right, y(median(values)), "l-mid"))
    parts += _borders(given, len(values), top, bottom)
    # Beside the drawing: on it the words would hide rounds.
    for row, words in enumerate(("median", quantity(median(values), given.unit))):
        at = min(max(y(median(values)), top + 8), bottom - 12) - 2 + 14 * row
        parts.append(svg.text(right + 6, at, words, class_="p-label"))
    under = "rounds in the order they were taken"
    if len(given.launches) > 1:
        under += ", launches parted by dotted lines"
    middle = (_LEFT + right) / 2
    parts.append(svg.text(middle, bottom + 20, under, class_="p-text", anchor="middle"))
    return svg.drawing(WIDTH, _ROUNDS_HEIGHT, parts, label=_spoken(given, values), class_="ratio")


def _dots(values: Sequence[float], y: Scale) -> Markup:
    step = (WIDTH - _LEFT - _WORDS) / len(values)
    size = 2.2 if len(values) <= _MANY else 1.4
    turn = f"a{size} {size} 0 1 0 "
    dots = "".join(
        f"M{svg.number(_LEFT + (i + 0.5) * step - size)} {svg.number(y(value))}"
        f"{turn}{svg.number(2 * size)} 0{turn}-{svg.number(2 * size)} 0z"
        for i, value in enumerate(values)
    )
    return svg.tag("path", d=dots, class_="p-good")


def _borders(given: Rounds, total: int, top: float, bottom: float) -> Iterator[Markup]:
    step = (WIDTH - _LEFT - _WORDS) / total
    ends = list(accumulate(len(launch) for launch in given.launches))[:-1]
    for index, end in enumerate(ends, start=1):
        x = _LEFT + end * step
        yield svg.line(x, top, x, bottom, "l-launch")
        if index == given.confirming:
            yield svg.text(x + 3, bottom - 4, "confirming set", class_="p-label")


def _spoken(given: Rounds, values: Sequence[float]) -> str:
    words = [
        given.title,
        f"{count(len(values), 'round')}",
        f"median {quantity(median(values), given.unit)}",
    ]
    if given.interval is not None:
        low, high = (quantity(value, given.unit) for value in given.interval)
        words.append(f"interval {low} to {high}")
    words += [f"bound {quantity(bound, given.unit)}" for bound in given.bounds]
    return ", ".join(words)
