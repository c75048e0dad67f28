"""Latency tolerances over launched rounds: paired, look by look, and a failure confirmed.

Three ways to compare, in this order: with the baseline's own artifact, run beside the candidate; with
the ratio to the reference that the baseline keeps, which takes a wider tolerance; and, for what is
demanded of the reference itself, with the reference. Percentiles on a dedicated target have a rule
of their own. ``latency_questions`` has the limits, ``gate.metrics.sequential`` decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from gate.core.baseline import Baseline, BaselineLookup
from gate.core.case import Case
from gate.core.environment import Environment
from gate.core.observation import Observation, TimingObserved
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Tolerance
from gate.core.verdict import Check
from gate.judge.comparison import Comparison, compare
from gate.judge.latency_questions import (
    Question,
    against_base,
    against_reference,
    against_stored,
    growth,
)
from gate.judge.measure import Measured, measure
from gate.judge.rounds import Against, launch_sets, launched, timing_fault
from gate.judge.tolerances import judge_tolerance
from gate.judge.wording import count
from gate.metrics.sequential import (
    Decision,
    Outcome,
    decide,
    percentile_decision,
    runs_needed,
)
from gate.metrics.timing import contention

LATENCIES = frozenset({"latency_p50", "latency_p90", "latency_p99"})
TIMED = LATENCIES | {"throughput", "speedup", "latency_ratio", "slowdown"}
"""Metrics that are measured in timed rounds."""

CROWDED = 0.8
"""Share of CPU time in wall time below which a note says so."""

_RATIOS = frozenset({"speedup", "latency_ratio"})
_QUANTILE = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99, "throughput": 0.5}
_STATUS = {
    Decision.PASS: Status.PASS,
    Decision.FAIL: Status.FAIL,
    Decision.CONTINUE: Status.INCONCLUSIVE,
}


def timed(tolerance: Tolerance) -> bool:
    """Whether a tolerance needs timed rounds."""
    return tolerance.tier is Tier.DEVICE and tolerance.metric in TIMED


def wants_base(case: Case) -> bool:
    """Whether a tolerance of the case is about the baseline's own artifact."""
    return case.baseline_policy != "ignore" and any(
        tolerance.metric == "slowdown"
        or (tolerance.metric in _QUANTILE and tolerance.anchor is Anchor.BASELINE)
        for tolerance in case.tolerances
        if tolerance.tier is Tier.DEVICE
    )


def unchanged(
    case: Case, baseline: Baseline, environment: Environment, candidate_sha256: str
) -> bool:
    """Whether nothing that decides the latency changed since the baseline, but the machine."""
    return (
        candidate_sha256 == baseline.artifacts.get("candidate")
        and environment.versions == baseline.environment.versions
        and environment.threads == baseline.environment.threads
        and case.spec_digest == baseline.spec_digest
    )


def wants_ratio(case: Case) -> bool:
    """Whether a tolerance of the case is about a ratio to the reference that the baseline keeps."""
    return case.baseline_policy != "ignore" and any(
        tolerance.metric in {"latency_ratio", "speedup"} and tolerance.anchor is Anchor.BASELINE
        for tolerance in case.tolerances
        if tolerance.tier is Tier.DEVICE
    )


def timing_checks(
    case: Case, observation: Observation, lookup: BaselineLookup
) -> tuple[Check, ...]:
    """The checks of the case that need timed rounds, from an observation that may hold no more.

    The run asks this between launches: INCONCLUSIVE means that another launch may help.
    """
    measured, comparison = measure(observation), compare(case, observation, lookup)
    return tuple(
        check
        for tolerance in case.tolerances
        if timed(tolerance)
        for check in judge_timed(case, tolerance, observation, measured, comparison)
    )


def judge_timed(
    case: Case,
    tolerance: Tolerance,
    observation: Observation,
    measured: Measured,
    comparison: Comparison,
) -> tuple[Check, ...]:
    """The checks of one tolerance; those of launched rounds are decided by all of them."""
    checks = judge_tolerance(tolerance, measured, comparison, dedicated=case.target.dedicated)
    timing = observation.timing
    if not timed(tolerance) or timing is None or not launched(timing) or timing_fault(timing):
        return checks
    judge = _Judge(case, observation, timing, measured, comparison)
    return tuple(judge.refined(tolerance, check) for check in checks)


def crowded(observation: Observation) -> Iterator[str]:
    """A note where the candidate got little of a processor while it was timed."""
    timing = observation.timing
    if timing is None or not launched(timing) or timing_fault(timing):
        return
    if observation.environment.threads > 1:
        return
    share = contention(timing.candidate_wall_ns, timing.candidate_cpu_ns)
    if share is not None and share < CROWDED:
        yield (
            f"timed on a crowded machine: the candidate had a processor {100 * share:.0f} % of the time"
        )


class _Judge:
    def __init__(
        self,
        case: Case,
        observation: Observation,
        timing: TimingObserved,
        measured: Measured,
        comparison: Comparison,
    ) -> None:
        self._case = case
        self._observation = observation
        self._timing = timing
        self._measured = measured
        self._comparison = comparison

    def refined(self, tolerance: Tolerance, check: Check) -> Check:
        """``check``, which compares plain values, decided by the rounds where they can."""
        metric, anchor = tolerance.metric, tolerance.anchor
        question: Question | Check | None = None
        if metric == "slowdown" or (metric in _QUANTILE and anchor is Anchor.BASELINE):
            question = self._against_baseline(tolerance, check)
        elif metric in _RATIOS and anchor is Anchor.BASELINE:
            share = growth(tolerance, check.baseline)
            question = self._stored_ratio(check, share) if share is not None else None
        elif metric in _RATIOS and check.bound is not None and check.bound > 0.0:
            sign = -1.0 if metric == "speedup" else 1.0
            question = against_reference(sign * math.log(check.bound), check)
        elif metric in {"latency_p50", "throughput"} and anchor is Anchor.REFERENCE:
            sign = -1.0 if metric == "throughput" else 1.0
            question = against_reference(sign * math.log(tolerance.value), check)
        elif metric in _QUANTILE and self._case.target.dedicated and check.bound:
            return self._percentile(tolerance, check)
        if isinstance(question, Question):
            return self._answer(question, check)
        return question or check

    def _against_baseline(self, tolerance: Tolerance, check: Check) -> Question | Check | None:
        comparison = self._comparison
        baseline = comparison.baseline
        if baseline is None:
            return replace(
                check, status=comparison.why_not_status, message=comparison.why_not, bound=None
            )
        share = growth(tolerance, check.baseline)
        if share is None:
            return None
        if self._timing.base_wall_ns and self._timing.base_sha256 == baseline.artifacts.get(
            "candidate"
        ):
            return against_base(share)
        seen = self._observation
        if not self._timing.base_wall_ns and unchanged(
            self._case, baseline, seen.environment, seen.artifacts.get("candidate", "")
        ):
            return self._measuring(
                check,
                status=Status.PASS,
                message="not timed against the baseline: the same file, settings and runtime",
            )
        question = self._stored_ratio(check, share)
        if question is None and tolerance.metric == "slowdown":
            missing = "and the baseline holds no ratio to the reference; update it"
            return replace(check, message=f"{check.message}, {missing}")
        return question

    def _stored_ratio(self, check: Check, share: float) -> Question | Check | None:
        """Compare with the ratio to the reference as the baseline keeps it; None where it keeps none."""
        stored = self._comparison.value(Tier.DEVICE, "latency_ratio", "case")
        if self._comparison.machine_differs:
            return self._measuring(
                check, status=Status.NOT_COMPARABLE, message=self._comparison.machine_differs
            )
        if not stored:
            return None
        return against_stored(stored, share, self._timing.base_note or "its artifact was not run")

    def _answer(self, question: Question, check: Check) -> Check:
        threads = self._observation.environment.threads
        sets = launch_sets(self._timing, question.against, threads=threads)
        if sets is None or not sets.first:
            return check
        processes = self._case.run.timing_processes
        outcome = decide(sets.first, question.limits, processes=processes)
        said = ""
        if outcome.decision is Decision.FAIL and sets.second:
            first, outcome = outcome, decide(sets.second, question.limits, processes=processes)
            said = (
                "; confirmed in fresh processes"
                if outcome.decision is Decision.FAIL
                else f"; a first FAIL ({_percent(first.median)}) was not confirmed"
            )
        elif outcome.decision is Decision.FAIL:
            said = "; no second set of processes was run to confirm it"
        return self._measuring(
            check,
            metric=question.metric,
            status=_STATUS[outcome.decision],
            bound=question.bound,
            baseline=question.baseline,
            message=f"{_found(outcome, question.against)}{said}; {question.demand}{self._load()}",
        )

    def _percentile(self, tolerance: Tolerance, check: Check) -> Check:
        """A ceiling on a dedicated target, by the number of runs beyond it."""
        timing, bound = self._timing, check.bound or 0.0
        ceiling = 1e9 * timing.batch / bound if tolerance.metric == "throughput" else 1e6 * bound
        p = _QUANTILE[tolerance.metric]
        end = timing.launch[-1] + 1
        border = end if timing.confirming_from is None else timing.confirming_from
        first = _over(timing, ceiling, range(border))
        over, runs = first
        decision = percentile_decision(over, runs, p)
        said = ""
        if decision is Decision.FAIL and border < end:
            over, runs = _over(timing, ceiling, range(border, end))
            decision = percentile_decision(over, runs, p)
            said = " in a second set of processes too"
            if decision is not Decision.FAIL:
                said = f"; a first FAIL ({first[0]} of {first[1]}) was not confirmed"
        more = ""
        if decision is Decision.CONTINUE:
            more = f"; with as many, {runs_needed(over, p)} runs would be enough"
        return replace(
            check,
            status=_STATUS[decision],
            message=f"{check.message}; {over} of {count(runs, 'run')} beyond it{said}{more}",
        )

    def _measuring(
        self,
        check: Check,
        *,
        status: Status,
        message: str,
        metric: str = "slowdown",
        bound: float | None = None,
        baseline: float | None = None,
    ) -> Check:
        """``check`` with another measurement of the same rounds, where that has a value."""
        found = self._measured.of(Tier.DEVICE, metric)
        usable = [m for m in found if m.value is not None]
        return replace(
            check,
            status=status,
            measurement=usable[0] if usable else check.measurement,
            bound=bound if usable else None,
            baseline=baseline,
            message=message,
        )

    def _load(self) -> str:
        share = contention(self._timing.candidate_wall_ns, self._timing.candidate_cpu_ns)
        return "" if share is None else f" (CPU/wall {share:.2f})"


def _found(outcome: Outcome, against: Against) -> str:
    other = "the baseline's artifact" if against is Against.BASE else "the reference"
    many = "launch" if outcome.launches == 1 else "launches"
    launches = f"{count(outcome.rounds, 'round')} in {outcome.launches} {many}"
    if against is Against.BASE:
        ends = [end for end in (outcome.low, outcome.high) if math.isfinite(end)]
        interval = f" ({' to '.join(map(_percent, ends))})" if len(ends) == 2 else ""
        text = f"{_percent(outcome.median)}{interval} against {other}, {launches}"
    else:
        text = f"{math.exp(outcome.median):.3g} times the time of {other}, {launches}"
    if outcome.by_wall:
        text += f"; the shortest wall times are {_percent(outcome.wall)} apart"
    return text


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):+.1f} %"


def _over(timing: TimingObserved, ceiling_ns: float, launches: range) -> tuple[int, int]:
    """(runs beyond a ceiling, runs) of the candidate in some launches."""
    runs = [
        wall
        for wall, index in zip(timing.candidate_wall_ns, timing.launch, strict=True)
        if index in launches
    ]
    return sum(wall > ceiling_ns for wall in runs), len(runs)
