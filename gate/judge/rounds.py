"""Timed rounds of an observation as launches, and what they measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gate.core.observation import Observation, TimingObserved
from gate.metrics.sequential import (
    ALPHA_FAIL,
    Floats,
    Launch,
    log_ratios,
    median_interval,
)


class Against(StrEnum):
    """What the candidate is compared with, round by round."""

    REFERENCE = "reference"
    BASE = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """Launches of the first set, and of the set that was to confirm its failure."""

    first: tuple[Launch, ...]
    second: tuple[Launch, ...]

    @property
    def all(self) -> tuple[Launch, ...]:
        """Both."""
        return self.first + self.second


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Median over rounds of candidate time / other time, with its interval, pure factors."""

    median: float
    low: float | None
    """None, as ``high``, where there are too few rounds for an interval."""
    high: float | None


def launched(timing: TimingObserved | None) -> bool:
    """Whether the rounds come from fresh processes of their own."""
    return timing is not None and bool(timing.launch)


def timing_fault(timing: TimingObserved | None) -> str:
    """What keeps times from being measured; empty where nothing does."""
    if timing is None:
        return "latency was not observed"
    reference, candidate = timing.reference_wall_ns, timing.candidate_wall_ns
    if not candidate:
        return "no round was timed"
    if len(reference) != len(candidate):
        return f"{len(reference)} reference rounds beside {len(candidate)} candidate rounds"
    if timing.batch < 1:
        return f"a timing batch of {timing.batch} samples"
    if min(*reference, *candidate, *timing.base_wall_ns) <= 0:
        return "a wall time is not positive: the clock is too coarse or not monotonic"
    return _launch_fault(timing) if timing.launch else ""


def _launch_fault(timing: TimingObserved) -> str:
    series = [timing.reference_cpu_ns, timing.candidate_cpu_ns, timing.launch]
    if timing.base_wall_ns or timing.base_cpu_ns:
        series += [timing.base_wall_ns, timing.base_cpu_ns]
    runs = len(timing.candidate_wall_ns)
    if any(len(values) != runs for values in series):
        return f"{runs} runs of the candidate beside {', '.join(str(len(s)) for s in series)}"
    if list(timing.launch) != sorted(timing.launch):
        return "the launches are out of order"
    each = timing.runs_per_round
    if each < 1 or any(timing.launch.count(i) % each for i in set(timing.launch)):
        return f"a launch does not hold whole rounds of {each} runs"
    if min(*timing.reference_cpu_ns, *timing.candidate_cpu_ns, *timing.base_cpu_ns) < 0:
        return "a CPU time is negative"
    return ""


def launch_sets(timing: TimingObserved, against: Against, *, threads: int) -> Sets | None:
    """The rounds as launches, A the other model and B the candidate; None where the other did not
    run.

    Against the reference the clock is CPU time at one thread and wall time at several: two models
    that are parallel to different degrees differ less, or more, in time than in work. It is wall
    time too where the clock of CPU time is so coarse that it stood still during a round.
    """
    base = against is Against.BASE
    wall = timing.base_wall_ns if base else timing.reference_wall_ns
    cpu = timing.base_cpu_ns if base else timing.reference_cpu_ns
    if not wall:
        return None
    own_cpu = timing.candidate_cpu_ns
    if (threads > 1 and not base) or _stood_still(timing.runs_per_round, cpu, own_cpu):
        cpu, own_cpu = wall, timing.candidate_wall_ns
    number = np.asarray(timing.launch or (0,) * len(wall))
    columns = [np.asarray(v, float) for v in (cpu, own_cpu, wall, timing.candidate_wall_ns)]
    launches: dict[int, Launch] = {}
    for index in dict.fromkeys(number.tolist()):
        a_cpu, b_cpu, a_wall, b_wall = (
            column[number == index].reshape(-1, timing.runs_per_round) for column in columns
        )
        launches[index] = Launch(a_cpu=a_cpu, b_cpu=b_cpu, a_wall=a_wall, b_wall=b_wall)
    border = math.inf if timing.confirming_from is None else timing.confirming_from
    return Sets(
        first=tuple(launch for index, launch in launches.items() if index < border),
        second=tuple(launch for index, launch in launches.items() if index >= border),
    )


def _stood_still(runs_per_round: int, *clocks: Sequence[int]) -> bool:
    rounds = (np.asarray(clock).reshape(-1, runs_per_round).sum(axis=1) for clock in clocks)
    return not all(one.all() for one in rounds)


def ratio(observation: Observation, against: Against) -> Ratio | None:
    """Candidate time over the other's; None where the other did not run."""
    timing = observation.timing
    if timing is None or not launched(timing):
        return None
    sets = launch_sets(timing, against, threads=observation.environment.threads)
    if sets is None:
        return None
    d = _pooled(sets.all)
    low, high = median_interval(d, alpha=ALPHA_FAIL)
    return Ratio(
        median=math.exp(float(np.median(d))),
        low=math.exp(low) if math.isfinite(low) else None,
        high=math.exp(high) if math.isfinite(high) else None,
    )


def _pooled(launches: Sequence[Launch]) -> Floats:
    return np.concatenate([log_ratios(launch) for launch in launches])
