"""Latencies of both sides, drawn: how they are spread, and how they compare round by round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gate.core.observation import TimingObserved
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.metrics.timing import NS_PER_MS, contention, percentile_ms
from gate.report.format import quantity
from gate.report.html_report import svg
from gate.report.html_report.scale import Scale, fitted

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 540.0
_SPREAD_HEIGHT, _RATIO_HEIGHT = 176.0, 150.0
_LEFT, _RIGHT = 76.0, 14.0
_BINS = 48
_SHOWN_PERCENTILE = 98.0
"""Rare slow rounds beyond this percentile (of both sides) would squeeze the rest; they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Drawings and figures of one case's timing."""

    spread: Markup
    ratio: Markup
    rows: tuple[tuple[str, ...], ...]
    """(side, minimum, p50, p90, p99, CPU share of wall time)."""
    launches: tuple[tuple[str, ...], ...]
    """(launch, rounds, median of the reference, of the candidate, median speed-up); where there are several."""
    batch: int
    rounds: int
    beyond: str


def latency(timing: TimingObserved | None, verdict: Verdict) -> Latency | None:
    """Draw the rounds; None where there are none, or they are no pairs."""
    if timing is None or not timing.candidate_wall_ns:
        return None
    reference, candidate = timing.reference_wall_ns, timing.candidate_wall_ns
    if len(reference) != len(candidate) or min(*reference, *candidate) <= 0:
        return None
    ms = [[ns / NS_PER_MS for ns in side] for side in (reference, candidate)]
    limit = float(np.percentile(ms[0] + ms[1], _SHOWN_PERCENTILE))
    limit = max(limit, median(ms[0]), median(ms[1]))
    beyond = [sum(value > limit for value in side) for side in ms]
    said = [
        f"{count(n, 'round')} of the {name}"
        for name, n in zip(("reference", "candidate"), beyond, strict=True)
        if n
    ]
    return Latency(
        spread=_spread(ms[0], ms[1], limit),
        ratio=_ratio(timing, verdict),
        rows=(
            _figures("reference", reference, timing.reference_cpu_ns),
            _figures("candidate", candidate, timing.candidate_cpu_ns),
        ),
        launches=_launches(timing),
        batch=timing.batch,
        rounds=len(candidate),
        beyond=f"Not drawn: {' and '.join(said)} above {quantity(limit, 'ms')}." if said else "",
    )


def _spread(a: Sequence[float], b: Sequence[float], limit: float) -> Markup:
    """Two histograms back to back on one axis, medians marked."""
    low = min(*a, *b)
    shown = [[v for v in side if v <= limit] for side in (a, b)]
    axis = fitted([low, limit], _LEFT, WIDTH - _RIGHT, margin=0.03)
    pixels = np.linspace(axis.start, axis.end, _BINS + 1)
    counts = [np.histogram([axis(v) for v in side], bins=pixels)[0] for side in shown]
    most = max(1, int(max(c.max() for c in counts)))
    middle, reach = 74.0, 50.0
    parts: list[Markup] = []
    for side, sign, name in ((0, -1, "a"), (1, 1, "b")):
        bars = "".join(
            f"M{svg.number(left)} {middle:g}v{svg.number(sign * reach * n / most)}"
            f"h{svg.number(right - left)}V{middle:g}z"
            for (left, right), n in zip(
                pairwise(pixels.tolist()), counts[side].tolist(), strict=True
            )
            if n
        )
        parts.append(svg.tag("path", d=bars, class_=f"l-{name}"))
    parts.append(svg.line(axis.start, middle, axis.end, middle, "p-grid"))
    for taken, name, top, at in (
        (a, "a", middle - reach - 4, middle - reach - 8),
        (b, "b", middle, middle + reach + 15),
    ):
        x = axis(median(taken))
        parts.append(svg.line(x, top, x, top + reach + 4, f"l-{name}-mid"))
        anchor = "start" if x < WIDTH * 0.75 else "end"
        label = f"median {quantity(median(taken), 'ms')}"
        parts.append(svg.text(x, at, label, class_="p-label", anchor=anchor))
    parts.append(svg.text(4, middle - 20, "reference", class_="p-text"))
    parts.append(svg.text(4, middle + 28, "candidate", class_="p-text"))
    parts += _axis(axis, middle + reach + 24, "ms")
    label = (
        f"wall time of a run: reference median {quantity(median(a), 'ms')}, "
        f"candidate median {quantity(median(b), 'ms')}"
    )
    return svg.drawing(WIDTH, _SPREAD_HEIGHT, parts, label=label, class_="spread")


def _axis(axis: Scale, at: float, unit: str) -> Iterator[Markup]:
    yield svg.line(axis.start, at, axis.end, at, "p-axis")
    for tick in axis.ticks(6):
        x = axis(tick)
        yield svg.line(x, at, x, at + 4, "p-axis")
        yield svg.text(x, at + 17, quantity(tick, unit), class_="p-text", anchor="middle")


def _ratio(timing: TimingObserved, verdict: Verdict) -> Markup:
    """Speed-up of each round in the order they were taken, with median, interval and bounds."""
    ratios = [
        a / b for a, b in zip(timing.reference_wall_ns, timing.candidate_wall_ns, strict=True)
    ]
    checks = [c for c in verdict.checks if c.rule == "speedup" and c.measurement is not None]
    bounds = sorted({c.bound for c in checks if c.bound is not None})
    interval = next(
        (
            (m.low, m.high)
            for c in checks
            if (m := c.measurement) is not None and m.low is not None and m.high is not None
        ),
        None,
    )
    top, bottom = 20.0, 118.0
    # A round that was disturbed on one side alone must not flatten the others.
    shown = np.percentile(ratios, [1.0, 99.0]).tolist() if len(ratios) >= 20 else ratios
    y = fitted([*shown, *bounds, *(interval or ()), 1.0], bottom, top, margin=0.06)
    step = (WIDTH - _LEFT - _RIGHT) / len(ratios)
    parts: list[Markup] = []
    if interval is not None:
        edge = y(interval[1])
        parts.append(
            svg.tag(
                "rect",
                x=_LEFT,
                y=edge,
                width=WIDTH - _LEFT - _RIGHT,
                height=max(1.0, y(interval[0]) - edge),
                class_="l-interval",
            )
        )
    for tick in y.ticks(4):
        parts.append(svg.line(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "p-grid"))
        label = quantity(tick, "x")
        parts.append(svg.text(_LEFT - 6, y(tick) + 4, label, class_="p-text", anchor="end"))
    parts.append(svg.line(_LEFT, y(1.0), WIDTH - _RIGHT, y(1.0), "l-one"))
    parts += [svg.line(_LEFT, y(b), WIDTH - _RIGHT, y(b), "p-bound") for b in bounds]
    places = [_LEFT + (i + 0.5) * step for i in range(len(ratios))]
    size = 2.2 if len(ratios) <= 200 else 1.4
    turn = f"a{size} {size} 0 1 0 "
    dots = "".join(
        f"M{svg.number(x - size)} {svg.number(y(r))}{turn}{svg.number(2 * size)} 0"
        f"{turn}-{svg.number(2 * size)} 0z"
        for x, r in zip(places, ratios, strict=True)
    )
    parts.append(svg.tag("path", d=dots, class_="p-good"))
    parts.append(svg.line(_LEFT, y(median(ratios)), WIDTH - _RIGHT, y(median(ratios)), "l-mid"))
    parts += [
        svg.line(_LEFT + i * step, top, _LEFT + i * step, bottom, "l-launch")
        for i in range(1, len(timing.launch))
        if timing.launch[i] != timing.launch[i - 1]
    ]
    parts.append(svg.text(4, 12, "reference / candidate (x), above 1 is faster", class_="p-text"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    title = "rounds in the order they were taken"
    if timing.launch:
        title += "; a dotted line parts two launches"
    parts.append(svg.text(middle, bottom + 20, title, class_="p-text", anchor="middle"))
    spoken = f"speed-up of {count(len(ratios), 'round')}, median {quantity(median(ratios), 'x')}"
    if interval is not None:
        spoken += f", interval {quantity(interval[0], 'x')} to {quantity(interval[1], 'x')}"
    return svg.drawing(WIDTH, _RATIO_HEIGHT, parts, label=spoken, class_="ratio")


def _figures(name: str, wall: Sequence[int], cpu: Sequence[int]) -> tuple[str, ...]:
    share = contention(wall, cpu) if len(wall) == len(cpu) else None
    return (
        name,
        quantity(min(wall) / NS_PER_MS, "ms"),
        *(quantity(percentile_ms(wall, q), "ms") for q in (50, 90, 99)),
        quantity(100.0 * share, "%", digits=2) if share is not None else "-",
    )


def _launches(timing: TimingObserved) -> tuple[tuple[str, ...], ...]:
    if len(set(timing.launch)) < 2 or len(timing.launch) != len(timing.candidate_wall_ns):
        return ()
    rows = []
    for launch in dict.fromkeys(timing.launch):
        mine = [i for i, at in enumerate(timing.launch) if at == launch]
        a = [timing.reference_wall_ns[i] for i in mine]
        b = [timing.candidate_wall_ns[i] for i in mine]
        factor = median(x / y for x, y in zip(a, b, strict=True))
        rows.append(
            (
                str(launch + 1),
                str(len(mine)),
                quantity(median(a) / NS_PER_MS, "ms"),
                quantity(median(b) / NS_PER_MS, "ms"),
                quantity(factor, "x"),
            )
        )
    return tuple(rows)
