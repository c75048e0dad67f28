"""The few numbers of a case that a person asks for first, whether or not the spec bounds them."""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.observation import Observation, TaskObserved
from gate.core.result import CaseResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Headline numbers, full precision; None where the case did not observe them."""

    top1_drop_pp: float | None = None
    relative_mse_percent: float | None = None
    """Of the worst output."""
    sqnr_db: float | None = None
    """Of the worst output."""
    speedup: float | None = None
    size_ratio: float | None = None
    """Reference bytes over candidate bytes."""


def figures(result: CaseResult | None) -> Figures:
    """Take the headline numbers from the raw facts, with the metrics' own functions."""
    if result is None or result.observation is None:
        return Figures()
    # NumPy is only needed where there is something to show.
    from gate.metrics.elementwise import relative_mse_percent, sqnr_db
    from gate.metrics.timing import speedup

    seen: Observation = result.observation
    sums = [output.errors for output in seen.outputs.values()]
    errors = [value for value in map(relative_mse_percent, sums) if value is not None]
    noise = [value for value in map(sqnr_db, sums) if value is not None]
    timing, resources = seen.timing, seen.resources
    return Figures(
        top1_drop_pp=_top1_drop(seen.task),
        relative_mse_percent=max(errors, default=None),
        sqnr_db=min(noise, default=None),
        speedup=(
            speedup(timing.reference_wall_ns, timing.candidate_wall_ns)
            if timing and len(timing.reference_wall_ns) == len(timing.candidate_wall_ns)
            else None
        ),
        size_ratio=(
            resources.reference_size_bytes / resources.candidate_size_bytes
            if resources and resources.candidate_size_bytes
            else None
        ),
    )


def _top1_drop(task: TaskObserved | None) -> float | None:
    if task is None or not task.reference_top1:
        return None
    lost = task.reference_top1.count("1") - task.candidate_top1.count("1")
    return 100 * lost / len(task.reference_top1)
