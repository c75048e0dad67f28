"""Healthy repeats: how often the gate cries wolf, and how much its numbers move by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gate.core.baseline import BaselineFound, BaselineLookup
from gate.core.observation import Observation
from gate.core.status import Status
from gate.core.verdict import Measurement, Verdict
from gate.drill.cases import untimed
from gate.drill.engine import DrillSettings, HealthyCase, Sick, run_cases, under_its_own_id
from gate.drill.noise import Noise, noise_of
from gate.drill.variation import FACTORY, Variation, variations
from gate.judge.measure import measure
from gate.judge.results import verdict_of
from gate.run.events import Event
from gate.run.mutation import Mutation

_BAD = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A healthy run that did not pass."""

    case_id: str
    variation: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthyRepeats:
    """What the repeats of all cases came to."""

    seed: int
    runs: int = 0
    """That gave an observation."""
    alarms: tuple[Alarm, ...] = ()
    failures: tuple[Sick, ...] = ()
    """Runs without an observation."""
    noise: Mapping[str, Noise] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One healthy repeat and its verdict."""

    case_id: str
    variation: Variation
    observation: Observation | None
    verdict: Verdict


def run_repeats(
    healthy: Sequence[HealthyCase],
    count: int,
    *,
    settings: DrillSettings,
    timed: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Iterator[Repeat]:
    """Run every case ``count`` times under other seeds, orders, batches and threads.

    Judged as the case itself is, by the same baseline. That has the number of threads filled in that
    the repeat runs with: the numbers are to be compared, whatever a class of environments says.

    Raises:
        InfrastructureError: a folder cannot be written.
    """
    planned: dict[str, tuple[HealthyCase, Variation]] = {}
    for one in healthy:
        for index, variation in enumerate(variations(one.case, count, seed=settings.seed)):
            planned[f"{one.case.id}#{index + 1}"] = (one, variation)
    cases = tuple(
        replace(variation.of(one.case if timed else untimed(one.case)), id=name)
        for name, (one, variation) in planned.items()
    )
    mutations = {
        name: Mutation(
            factory=FACTORY,
            fault="",
            seed=variation.seed,
            case_id=one.case.id,
            timed=timed,
        )
        for name, (one, variation) in planned.items()
    }
    for result in run_cases(cases, mutations, settings, "repeats", on_event):
        one, variation = planned[result.case.id]
        case = one.case if timed else untimed(one.case)
        own = under_its_own_id(result, case)
        verdict = verdict_of(own, _for_threads(one.lookup, own.observation))
        yield Repeat(
            case_id=case.id, variation=variation, observation=own.observation, verdict=verdict
        )


def come_to(
    repeats: Sequence[Repeat], healthy: Sequence[HealthyCase], *, seed: int
) -> HealthyRepeats:
    """Count false alarms and take the noise of every case."""
    alarms, failures = [], []
    interrupted = False
    runs: dict[str, list[list[Measurement]]] = {}
    for one in healthy:
        runs[one.case.id] = [list(measure(one.observation))]
    for repeat in repeats:
        if repeat.observation is None:
            failure = repeat.verdict.failure
            interrupted |= failure is not None and failure.kind == "interrupted"
            why = failure.message if failure is not None else repeat.verdict.skipped or ""
            failures.append(Sick(case_id=repeat.case_id, reason=why))
            continue
        runs[repeat.case_id].append(list(measure(repeat.observation)))
        if repeat.verdict.status in _BAD:
            alarms.append(_alarm(repeat))
    return HealthyRepeats(
        seed=seed,
        runs=len(repeats) - len(failures),
        alarms=tuple(alarms),
        failures=tuple(failures),
        noise={
            one.case.id: noise_of(runs[one.case.id], samples=one.observation.samples_evaluated)
            for one in healthy
        },
        interrupted=interrupted,
    )


def _alarm(repeat: Repeat) -> Alarm:
    first = next((c for c in repeat.verdict.checks if c.status in _BAD), None)
    what = f"{first.tier}.{first.rule} of {first.subject}: {first.message}" if first else ""
    v = repeat.variation
    return Alarm(
        case_id=repeat.case_id,
        variation=f"seed {v.seed}, batch {v.batch}, {v.threads} threads",
        what=f"{repeat.verdict.status}: {what}",
    )


def _for_threads(lookup: BaselineLookup, observation: Observation | None) -> BaselineLookup:
    if not isinstance(lookup, BaselineFound) or observation is None:
        return lookup
    there = lookup.baseline.environment
    threads = observation.environment.threads
    return BaselineFound(
        baseline=replace(lookup.baseline, environment=replace(there, threads=threads))
    )
