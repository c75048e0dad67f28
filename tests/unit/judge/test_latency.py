"""Latency tolerances over launched rounds: which comparison is taken, and what it comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gate.core.baseline import (
    Baseline,
    BaselineFound,
    BaselineLookup,
    BaselineMissing,
    BaselineValue,
    Provenance,
)
from gate.core.case import Case
from gate.core.observation import Observation, TimingObserved
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op, Tolerance
from gate.core.verdict import Check
from gate.judge.judge import judge
from gate.judge.latency import timing_checks, wants_base
from gate.judge.measure import measure
from tests.unit.judge import builders as build

D = Tier.DEVICE
BASE_SHA = "c" * 64
FIVE = build.baseline_tolerance(D, "latency_p50", Op.LE, 5.0, relative=True)
TWENTY = replace(FIVE, value=20.0)
FASTER = build.tolerance(D, "speedup", Op.GE, 1.5)
MISSING = BaselineMissing(path="")


def rounds(
    candidate: float = 1.0,
    *,
    reference: float = 2.0,
    base: float | None = None,
    launches: int = 2,
    second: float | None = None,
    seed: int = 0,
    each: int = 40,
    **changes: Any,
) -> TimingObserved:
    """Launches of 40 rounds, in milliseconds; ``second`` is the candidate's time in a second set."""
    rng = np.random.default_rng(seed)
    count = launches * (1 if second is None else 2)
    n = count * each * 2

    def times(ms: float) -> np.ndarray:
        return ms * 1e6 * np.exp(0.02 * rng.normal(size=n))

    own = times(candidate)
    if second is not None:
        own[n // 2 :] *= second / candidate
    series = {
        "reference": times(reference),
        "candidate": own,
        **({"base": times(base)} if base is not None else {}),
    }
    return TimingObserved(
        batch=1,
        warmup_rounds=20,
        launch=tuple(i for i in range(count) for _ in range(2 * each)),
        runs_per_round=2,
        base_sha256=BASE_SHA if base is not None else "",
        confirming_from=None if second is None else launches,
        **{f"{name}_cpu_ns": tuple(map(int, v)) for name, v in series.items()},
        **{f"{name}_wall_ns": tuple(map(int, 1.1 * v)) for name, v in series.items()},
        **changes,
    )


def baseline(observation: Observation, **values: float) -> BaselineFound:
    """A baseline of the same spec, data and machine whose candidate was another file."""
    return BaselineFound(
        baseline=Baseline(
            case_id=observation.case_id,
            environment=observation.environment,
            spec_digest=observation.spec_digest,
            data_digest=observation.data_digest,
            artifacts={**observation.artifacts, "candidate": BASE_SHA},
            pin=None,
            values=tuple(
                BaselineValue(tier=D, metric=name, subject="case", value=value, unit="")
                for name, value in values.items()
            ),
            layers=(),
            provenance=Provenance(reason="", commit="", author="", date="", gate_version=""),
        )
    )


def case(*tolerances: Tolerance, dedicated: bool = False, **changes: Any) -> Case:
    made = build.case(*tolerances, baseline_policy="require", **changes)
    return replace(made, target=replace(made.target, dedicated=dedicated))


def check(
    tolerance: Tolerance,
    timing: TimingObserved,
    lookup: BaselineLookup | None = None,
    *,
    dedicated: bool = False,
    **values: float,
) -> Check:
    seen = build.observation(timing=timing)
    (found,) = timing_checks(
        case(tolerance, dedicated=dedicated), seen, lookup or baseline(seen, **values)
    )
    return found


@pytest.mark.parametrize(("candidate", "status"), [(1.0, Status.PASS), (1.2, Status.FAIL)])
def test_where_the_clock_of_cpu_time_is_coarser_than_a_run_wall_time_decides(
    candidate: float, status: Status
) -> None:
    timing = rounds(candidate, base=1.0, launches=4)
    still = (0,) * len(timing.base_cpu_ns)
    for ticks in (still, (0, 0, *timing.base_cpu_ns[2:])):
        coarse = replace(timing, base_cpu_ns=ticks, candidate_cpu_ns=still)
        found = check(FIVE, coarse, latency_p50=1e-3)
        assert found.status is status
        assert "against the baseline's artifact" in found.message


@pytest.mark.parametrize(
    ("candidate", "status"),
    [(1.0, Status.PASS), (0.9, Status.PASS), (1.05, Status.FAIL), (1.2, Status.FAIL)],
)
def test_the_baselines_artifact_is_compared_round_by_round(
    candidate: float, status: Status
) -> None:
    # The stored latency is nonsense: with the artifact beside it nobody asks for it.
    found = check(FIVE, rounds(candidate, base=1.0, launches=4), latency_p50=1e-3)
    assert found.status is status
    assert found.measurement is not None
    assert found.measurement.metric == "slowdown"
    assert found.measurement.value == pytest.approx(100 * (candidate - 1), abs=1.0)
    assert found.bound == 5.0
    assert "against the baseline's artifact" in found.message
    assert "CPU/wall 0.91" in found.message


def test_a_wide_tolerance_is_not_failed_far_below_it() -> None:
    timing = rounds(1.25, base=1.0)
    wide = replace(FIVE, value=50.0)
    assert check(wide, timing, latency_p50=1.0).status is Status.PASS


def test_a_tolerance_below_what_can_be_told_is_widened_and_says_so() -> None:
    found = check(replace(FIVE, value=0.5), rounds(1.0, base=1.0), latency_p50=1.0)
    assert (found.status, found.bound) == (Status.PASS, 2.5)
    assert "taken as +2.5 %" in found.message


def test_throughput_and_slowdown_ask_the_same() -> None:
    fps = build.baseline_tolerance(D, "throughput", Op.GE, -5.0, relative=True)
    percent = build.tolerance(D, "slowdown", Op.LE, 5.0)
    for tolerance in (fps, percent):
        for candidate, status in ((1.0, Status.PASS), (1.1, Status.FAIL)):
            timing = rounds(candidate, base=1.0, launches=4)
            assert check(tolerance, timing, throughput=1.0).status is status


def test_a_failure_counts_when_a_fresh_set_confirms_it() -> None:
    confirmed = check(FIVE, rounds(1.1, base=1.0, second=1.1), latency_p50=1.0)
    assert confirmed.status is Status.FAIL
    assert "confirmed in fresh processes" in confirmed.message
    withdrawn = check(FIVE, rounds(1.1, base=1.0, second=1.0), latency_p50=1.0)
    assert withdrawn.status is Status.PASS
    assert "a first FAIL" in withdrawn.message
    assert "was not confirmed" in withdrawn.message
    alone = check(FIVE, rounds(1.1, base=1.0), latency_p50=1.0)
    assert alone.status is Status.FAIL
    assert "no second set" in alone.message


def test_the_second_set_has_no_say_in_what_the_first_let_pass() -> None:
    assert check(FIVE, rounds(1.0, base=1.0, second=1.3), latency_p50=1.0).status is Status.PASS


def test_what_cannot_be_told_is_inconclusive() -> None:
    found = check(FIVE, rounds(1.03, base=1.0, each=3), latency_p50=1.0)
    assert found.status is Status.INCONCLUSIVE


def test_the_same_file_settings_and_runtime_need_no_timing() -> None:
    seen = build.observation(timing=rounds(base_note="the candidate is the same file"))
    seen = replace(seen, artifacts={**seen.artifacts, "candidate": BASE_SHA})
    chosen = case(FIVE)
    lookup = baseline(seen, latency_p50=1e-3, latency_ratio=0.5)
    (found,) = timing_checks(chosen, seen, lookup)
    assert found.status is Status.PASS
    assert "the same file" in found.message
    # Another runtime may have other kernels: the stored ratio to the reference tells.
    newer = replace(seen, environment=replace(seen.environment, versions={"runtime": "2"}))
    (found,) = timing_checks(chosen, newer, lookup)
    assert "stored ratio" in found.message
    edited = replace(chosen, spec_digest="6" * 64)
    (found,) = timing_checks(edited, seen, lookup)
    assert "stored ratio" in found.message


@pytest.mark.parametrize(
    ("candidate", "tolerance", "status", "bound"),
    [
        (1.0, FIVE, Status.PASS, 0.55),
        (1.0, TWENTY, Status.PASS, 0.6),
        (1.05, FIVE, Status.PASS, 0.55),
        (1.15, FIVE, Status.FAIL, 0.55),
        (1.12, TWENTY, Status.PASS, 0.6),
        (1.25, TWENTY, Status.FAIL, 0.6),
    ],
)
def test_without_the_artifact_the_stored_ratio_decides_with_a_wide_tolerance(
    candidate: float, tolerance: Tolerance, status: Status, bound: float
) -> None:
    timing = rounds(candidate, launches=6, base_note="it is not kept here")
    found = check(tolerance, timing, latency_p50=1.0, latency_ratio=0.5)
    assert found.status is status, found.message
    assert found.bound == pytest.approx(bound)
    assert found.baseline == 0.5
    assert "15 to 20 %" in found.message
    assert "it is not kept here" in found.message


def test_a_ratio_of_another_processor_is_no_comparison() -> None:
    seen = build.observation(timing=rounds())
    lookup = baseline(seen, latency_p50=1.0, latency_ratio=0.5)
    other = replace(seen, environment=replace(seen.environment, cpu_model="another"))
    (found,) = timing_checks(case(FIVE), other, lookup)
    assert found.status is Status.NOT_COMPARABLE
    assert "another" in found.message
    assert judge(case(FIVE), other, lookup).status is Status.NOT_COMPARABLE
    # The artifact itself, run here, is one.
    beside = replace(other, timing=rounds(1.2, base=1.0, launches=4))
    (found,) = timing_checks(case(FIVE), beside, lookup)
    assert found.status is Status.FAIL


def test_rounds_of_another_base_are_not_taken_for_the_baselines() -> None:
    timing = rounds(2.0, base=2.0, reference=2.0)
    found = check(FIVE, replace(timing, base_sha256="9" * 64), latency_p50=1.0, latency_ratio=0.5)
    assert "stored ratio" in found.message
    assert found.status is Status.FAIL


def test_a_baseline_that_keeps_no_ratio_is_judged_as_before() -> None:
    found = check(FIVE, rounds(1.0), latency_p50=1.1)
    assert found.status is Status.PASS
    assert found.measurement is not None
    assert found.measurement.metric == "latency_p50"


def test_a_slow_down_that_nothing_can_tell_fails_with_the_way_out() -> None:
    found = check(build.tolerance(D, "slowdown", Op.LE, 5.0), rounds(1.0), latency_p50=1.0)
    assert found.status is Status.FAIL
    assert "holds no ratio to the reference; update it" in found.message


def test_without_a_baseline_there_is_no_comparison() -> None:
    for tolerance in (FIVE, build.tolerance(D, "slowdown", Op.LE, 5.0)):
        found = check(tolerance, rounds(), MISSING)
        assert found.status is not Status.PASS
        assert "no baseline" in found.message


@pytest.mark.parametrize(
    ("reference", "status"),
    [(2.0, Status.PASS), (1.0, Status.FAIL), (1.5, Status.INCONCLUSIVE)],
)
def test_a_speed_up_is_decided_where_its_interval_is_clear_of_the_bound(
    reference: float, status: Status
) -> None:
    found = check(FASTER, rounds(1.0, reference=reference, launches=8), MISSING)
    assert found.status is status
    assert found.measurement is not None
    low, value, high = (
        found.measurement.low,
        found.measurement.value,
        found.measurement.high,
    )
    assert low is not None
    assert value is not None
    assert high is not None
    assert low < value < high
    assert value == pytest.approx(reference, rel=0.01)


def test_a_speed_up_against_the_baselines_is_as_wide_as_a_ratio() -> None:
    # Ratios differ by some per cent from launch to launch, so one as tight is judged as 10 %.
    tight = build.baseline_tolerance(D, "speedup", Op.GE, -1.0, relative=True)
    for candidate, status in ((1.03, Status.PASS), (1.3, Status.FAIL)):
        found = check(tight, rounds(candidate, launches=6), speedup=2.0, latency_ratio=0.5)
        assert found.status is status, found.message
        assert "taken as +10 %" in found.message


def test_a_speed_up_that_may_fall_to_nothing_is_no_crash() -> None:
    anything = build.baseline_tolerance(D, "speedup", Op.GE, -200.0, relative=True)
    found = check(anything, rounds(1.0), speedup=2.0, latency_ratio=0.5)
    assert (found.status, found.bound) == (Status.PASS, -2.0)


def test_latency_in_multiples_of_the_references_is_paired_too() -> None:
    half = build.tolerance(D, "latency_p50", Op.LE, 0.6, anchor=Anchor.REFERENCE)
    assert check(half, rounds(1.0), MISSING).status is Status.PASS
    assert check(half, rounds(1.5), MISSING).status is Status.FAIL


def test_speed_up_at_several_threads_is_one_of_wall_time() -> None:
    timing = rounds(1.0)
    lazy = replace(timing, candidate_cpu_ns=tuple(4 * ns for ns in timing.candidate_cpu_ns))
    seen = build.observation(timing=lazy)
    several = replace(seen, environment=replace(seen.environment, threads=4))
    for observation, expected in ((seen, 0.5), (several, 2.0)):
        (found,) = measure(observation).of(D, "speedup")
        assert found.value == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("slow", "status"), [(0, Status.PASS), (18, Status.INCONCLUSIVE), (160, Status.FAIL)]
)
def test_a_ceiling_on_a_dedicated_target_counts_the_runs_beyond_it(
    slow: int, status: Status
) -> None:
    ceiling = build.tolerance(D, "latency_p90", Op.LE, 2.0)
    timing = rounds(1.0)
    runs = list(timing.candidate_wall_ns)
    assert len(runs) == 160
    runs[:slow] = [3_000_000] * slow
    found = check(ceiling, replace(timing, candidate_wall_ns=tuple(runs)), MISSING, dedicated=True)
    assert found.status is status, found.message
    assert "runs beyond it" in found.message


def test_a_ceiling_elsewhere_stays_indicative() -> None:
    ceiling = build.tolerance(D, "latency_p90", Op.LE, 0.5)
    found = check(ceiling, rounds(1.0), MISSING)
    assert found.status is Status.SKIPPED
    assert found.message.startswith("indicative")


def test_the_judge_says_what_the_run_was_stopped_for() -> None:
    seen = build.observation(timing=rounds(1.1, base=1.0, second=1.1, launches=4))
    chosen, lookup = case(FIVE, FASTER), baseline(seen, latency_p50=1.0)
    verdict = judge(chosen, seen, lookup)
    timed = [c for c in verdict.checks if c.tolerance is not None]
    assert timed == list(timing_checks(chosen, seen, lookup))


def test_only_what_is_about_the_baselines_time_wants_its_artifact() -> None:
    assert wants_base(case(FIVE))
    assert wants_base(case(build.tolerance(D, "slowdown", Op.LE, 5.0)))
    assert not wants_base(case(FASTER, build.tolerance(D, "latency_p50", Op.LE, 5.0)))
    assert not wants_base(replace(case(FIVE), baseline_policy="ignore"))


@pytest.mark.parametrize(
    "broken",
    [
        {"launch": (0, 1, 0, 1)},
        {"launch": (0,) * 3},
        {"runs_per_round": 3},
        {"base_wall_ns": (1, 2, 3)},
        {"candidate_cpu_ns": (1, 1)},
    ],
)
def test_rounds_that_do_not_fit_together_have_no_value(broken: dict[str, Any]) -> None:
    timing = rounds(launches=1, each=2)
    seen = build.observation(timing=replace(timing, **broken))
    (found,) = measure(seen).of(D, "speedup")
    assert found.value is None
    assert found.why_none
    (refused,) = timing_checks(case(FASTER), seen, MISSING)
    assert refused.status is Status.FAIL
