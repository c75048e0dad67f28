"""Latencies of all sides: what is drawn of them, and their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gate.core.observation import Observation, TimingObserved
from gate.core.verdict import Verdict
from gate.judge.rounds import Against, Sets, launch_sets, ratio, timing_fault
from gate.judge.wording import count
from gate.metrics.sequential import log_ratios
from gate.metrics.timing import NS_PER_MS, contention, percentile_ms
from gate.report.format import quantity
from gate.report.html_report.latency_drawings import Rounds, rounds, spread

if TYPE_CHECKING:
    from markupsafe import Markup

_SHOWN_PERCENTILE = 98.0
"""Rare slow runs beyond this percentile (of both sides) would squeeze the rest; they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Drawings and figures of one case's timing."""

    spread: Markup
    rounds: tuple[Markup, ...]
    """Round by round: against the reference, and against the baseline's own artifact where it ran."""
    rows: tuple[tuple[str, ...], ...]
    """(side, minimum, p50, p90, p99, CPU share of wall time)."""
    launches: tuple[tuple[str, ...], ...]
    """(launch, rounds, speed-up, change against the base or empty); where there are several."""
    has_base: bool
    summary: str
    notes: tuple[str, ...]


def latency(seen: Observation, verdict: Verdict) -> Latency | None:
    """Draw the runs; None where none was timed or the times are unsound, which the checks say."""
    timing = seen.timing
    if timing is None or timing_fault(timing):
        return None
    ms = [_ms(timing.reference_wall_ns), _ms(timing.candidate_wall_ns)]
    limit = float(np.percentile(ms[0] + ms[1], _SHOWN_PERCENTILE))
    limit = max(limit, median(ms[0]), median(ms[1]))
    threads = seen.environment.threads
    sets = {against: launch_sets(timing, against, threads=threads) for against in Against}
    drawn = [
        rounds(_rounds(seen, verdict, against, found))
        for against, found in sets.items()
        if found is not None
    ]
    return Latency(
        spread=spread(ms[0], ms[1], limit),
        rounds=tuple(drawn),
        rows=tuple(_rows(timing)),
        launches=_launches(sets[Against.REFERENCE], sets[Against.BASE]),
        has_base=sets[Against.BASE] is not None,
        summary=_summary(timing),
        notes=tuple(note for note in (_beyond(ms, limit), timing.base_note) if note),
    )


def _rounds(seen: Observation, verdict: Verdict, against: Against, sets: Sets) -> Rounds:
    """The ratios of one comparison, launch by launch."""
    found = ratio(seen, against)
    base = against is Against.BASE
    one_thread = seen.environment.threads == 1
    logs = [log_ratios(launch).tolist() for launch in sets.all]
    if base:
        values = [[100.0 * (np.exp(d) - 1.0) for d in launch] for launch in logs]
        title = "change of the time of a round against the baseline's own artifact"
        interval = None
        if found is not None and found.low is not None and found.high is not None:
            interval = (100.0 * (found.low - 1.0), 100.0 * (found.high - 1.0))
        bounds: list[float] = []
    else:
        values = [[float(np.exp(-d)) for d in launch] for launch in logs]
        title = "reference time / candidate time of a round, above 1 is faster"
        interval = None
        if found is not None and found.low is not None and found.high is not None:
            interval = (1.0 / found.high, 1.0 / found.low)
        bounds = [c.bound for c in verdict.checks if c.rule == "speedup" and c.bound is not None]
    clock = "CPU time" if one_thread or base else "wall time"
    return Rounds(
        launches=values,
        unit="%" if base else "x",
        none=0.0 if base else 1.0,
        title=f"{title} ({clock})",
        interval=interval,
        bounds=sorted(set(bounds)),
        confirming=len(sets.first) if sets.second else None,
    )


def _ms(wall: Sequence[int]) -> list[float]:
    return [ns / NS_PER_MS for ns in wall]


def _beyond(ms: Sequence[Sequence[float]], limit: float) -> str:
    said = [
        f"{count(n, 'run')} of the {name}"
        for name, side in zip(("reference", "candidate"), ms, strict=True)
        if (n := sum(value > limit for value in side))
    ]
    return f"not drawn: {' and '.join(said)} above {quantity(limit, 'ms')}" if said else ""


def _summary(timing: TimingObserved) -> str:
    runs = len(timing.candidate_wall_ns)
    parts = [f"{count(runs, 'run')} of each side in turns", f"batch {timing.batch}"]
    launches = len(set(timing.launch))
    if launches:
        parts.insert(1, f"in {launches} fresh process{'' if launches == 1 else 'es'}")
    if timing.confirming_from is not None:
        parts.append("a second set was taken to confirm the first")
    return ", ".join(parts)


def _rows(timing: TimingObserved) -> list[tuple[str, ...]]:
    sides = [
        ("reference", timing.reference_wall_ns, timing.reference_cpu_ns),
        ("candidate", timing.candidate_wall_ns, timing.candidate_cpu_ns),
    ]
    if timing.base_wall_ns:
        sides.append(("baseline's artifact", timing.base_wall_ns, timing.base_cpu_ns))
    return [_figures(name, wall, cpu) for name, wall, cpu in sides]


def _figures(name: str, wall: Sequence[int], cpu: Sequence[int]) -> tuple[str, ...]:
    share = contention(wall, cpu) if len(wall) == len(cpu) else None
    return (
        name,
        quantity(min(wall) / NS_PER_MS, "ms"),
        *(quantity(percentile_ms(wall, q), "ms") for q in (50, 90, 99)),
        quantity(100.0 * share, "%", digits=2) if share is not None else "-",
    )


def _launches(reference: Sets | None, base: Sets | None) -> tuple[tuple[str, ...], ...]:
    if reference is None or len(reference.all) < 2:
        return ()
    others = base.all if base is not None else (None,) * len(reference.all)
    rows = []
    for number, (launch, other) in enumerate(zip(reference.all, others, strict=True), start=1):
        d = log_ratios(launch)
        change = ""
        if other is not None:
            change = f"{100.0 * (np.exp(np.median(log_ratios(other))) - 1.0):+.2g} %"
        factor = quantity(float(np.exp(-np.median(d))), "x")
        rows.append((str(number), str(len(d)), factor, change))
    return tuple(rows)
