"""Speed-ups of two stacks: in the noise, apart, or without an interval; never a cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gate.baseline.store import BaselineStore
from gate.core.observation import TimingObserved
from gate.core.result import CaseResult
from gate.report.verdicts import judged
from gate.upgrade import report
from gate.upgrade.attribution import Cause, Origin, Side, attribute
from gate.upgrade.compare import Upgraded
from gate.upgrade.speed import APART, NO_INTERVAL, WITHIN_NOISE, speedup_apart, speedup_interval
from gate.upgrade.stacks import Stack
from tests.unit.judge.builders import MS, case, observation, timing

LAUNCHES, ROUNDS = 8, 10


def launched(candidate_ms: float, *, seed: int) -> TimingObserved:
    """Eight processes, each a few per cent faster or slower than the others."""
    rng = np.random.default_rng(seed)

    def times(ms: float) -> tuple[int, ...]:
        process = rng.normal(1.0, 0.04, size=(LAUNCHES, 1))
        run = rng.normal(1.0, 0.01, size=(LAUNCHES, ROUNDS))
        return tuple(int(t) for t in (ms * MS * process * run).ravel())

    reference, candidate = times(4.0), times(candidate_ms)
    return TimingObserved(
        batch=1,
        warmup_rounds=2,
        reference_wall_ns=reference,
        candidate_wall_ns=candidate,
        reference_cpu_ns=reference,
        candidate_cpu_ns=candidate,
        launch=tuple(int(i) for i in np.repeat(np.arange(LAUNCHES), ROUNDS)),
    )


def result(observed: TimingObserved | None) -> CaseResult:
    return CaseResult(case=case(), observation=observation(timing=observed))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (launched(4.0, seed=0), launched(4.03, seed=1), WITHIN_NOISE),
        (launched(4.0, seed=0), launched(2.0, seed=1), APART),
        (launched(4.0, seed=0), timing(), NO_INTERVAL),
        (launched(4.0, seed=0), None, ""),
    ],
)
def test_two_speed_ups_are_told_apart_by_their_intervals(
    before: TimingObserved, after: TimingObserved | None, said: str
) -> None:
    for pair in ((before, after), (after, before)):
        assert speedup_apart(*map(result, pair)) == said
    assert speedup_apart(result(before), None) == ""


def test_the_reports_say_so_beside_the_figures() -> None:
    old, new = result(launched(4.0, seed=0)), result(launched(4.03, seed=1))
    cells = {(Side.OLD, Origin.MADE): old, (Side.NEW, Origin.MADE): new}
    item = Upgraded(
        case=case(),
        cells={**cells, (Side.NEW, Origin.STORED): new},
        attribution=attribute(case().id, {**cells, (Side.NEW, Origin.STORED): new}),
        verdict=judged(new, BaselineStore(Path("none"))),
    )
    stack = Stack(name="it", python=Path("python"), versions={})
    assert item.attribution.causes == (Cause.UNCHANGED,)
    assert " x (within noise)" in report.terminal(stack, stack, [item])
    (told,) = report.plain(stack, stack, [item])["cases"]
    assert told["speedup"] == WITHIN_NOISE
    low, high = told["cells"]["old-made"]["speedup_interval"]
    assert (low, high) == speedup_interval(old)
    assert low < told["cells"]["old-made"]["speedup"] < high
