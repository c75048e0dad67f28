"""Whether the speed-ups of two stacks can be told apart. Shown beside them, never a cause."""

from __future__ import annotations

from gate.core.result import CaseResult
from gate.core.status import Tier
from gate.judge.measure import measure

WITHIN_NOISE = "within noise"
APART = "intervals apart"
NO_INTERVAL = "no interval"


def speedup_interval(result: CaseResult | None) -> tuple[float, float] | None:
    """The interval of the speed-up over the reference, paired round by round in the same processes;
    None where it was not timed, or in one process only."""
    if result is None or result.observation is None:
        return None
    found = measure(result.observation, with_layers=False).of(Tier.DEVICE, "speedup")
    known = [(m.low, m.high) for m in found if m.low is not None and m.high is not None]
    return min(known, default=None)


def speedup_apart(before: CaseResult | None, after: CaseResult | None) -> str:
    """In a word: the intervals overlap, they do not, or there are none; empty where one was not run.

    Each was taken in processes of its own and at its own time, so that intervals which overlap tell
    nothing, and intervals which are apart are a reason to measure again and no more.
    """
    if any(
        r is None or r.observation is None or r.observation.timing is None for r in (before, after)
    ):
        return ""
    x, y = speedup_interval(before), speedup_interval(after)
    if x is None or y is None:
        return NO_INTERVAL
    return WITHIN_NOISE if x[0] <= y[1] and y[0] <= x[1] else APART
