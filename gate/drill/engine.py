"""Runs a drill: every case healthy once, then once with each fault, each in a worker of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate.baseline.make import make_baseline
from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineFound, BaselineLookup, BaselineMissing, Provenance
from gate.core.case import Case, NotApplicable, Plan
from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.core.status import Status
from gate.core.verdict import Verdict
from gate.drill.base import Fault
from gate.drill.cases import MutatedRun, mutated, needs_clock, untimed
from gate.drill.noise import Noise
from gate.drill.outcome import FaultOutcome, outcome_of
from gate.judge.results import verdict_of
from gate.run.engine import run_plan
from gate.run.events import CaseFinished, Event
from gate.run.mutation import Mutation
from gate.run.settings import RunSettings

HEALTHY_FACTORY = "gate.drill.variation:unchanged"
IN_MEMORY = "recorded from the drill's own healthy run"

_ACCEPTABLE = (Status.PASS, Status.NOT_COMPARABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillSettings:
    """How a drill is run."""

    run_dir: Path
    cache_dir: Path | None
    jobs: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthyCase:
    """A case that passes without a fault, and what mutated runs of it are judged by."""

    case: Case
    observation: Observation
    lookup: BaselineLookup
    verdict: Verdict
    baseline_from: str
    """``store``, :data:`IN_MEMORY`, or ``ignored``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sick:
    """A case that cannot be drilled: it does not pass, or does not run, without any fault."""

    case_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Everything that a drill found out, as far as it came."""

    seed: int
    healthy: tuple[HealthyCase, ...] = ()
    sick: tuple[Sick, ...] = ()
    outcomes: tuple[FaultOutcome, ...] = ()
    """By case in the order of the plan, then by fault in the order of the catalogue."""
    not_applicable: tuple[NotApplicable, ...] = ()
    interrupted: bool = False
    seconds: float = 0.0
    noise: Mapping[str, Noise] = field(default_factory=dict)
    """Case id -> noise of its healthy repeats, where there were any."""


def run_healthy(
    cases: Sequence[Case],
    faults: Sequence[Fault],
    *,
    settings: DrillSettings,
    baselines: BaselineStore,
    on_event: Callable[[Event], None] | None = None,
) -> tuple[list[HealthyCase], list[Sick], bool]:
    """Run every case without a fault; also says whether it was interrupted.

    Nothing is timed unless one of ``faults`` needs that.

    Raises:
        InfrastructureError, BaselineError: folders that cannot be read or written.
    """
    timed = any(needs_clock(fault) for fault in faults)
    wanted = tuple(case if timed else untimed(case) for case in cases)
    mutations = {
        case.id: Mutation(
            factory=HEALTHY_FACTORY, fault="", seed=settings.seed, case_id=case.id, timed=timed
        )
        for case in wanted
    }
    results = run_cases(
        wanted,
        mutations if not timed else {},
        settings,
        "healthy",
        on_event,
        baselines_dir=baselines.root,
    )
    found: dict[str, HealthyCase | Sick] = {}
    interrupted = False
    full = {case.id: case for case in cases}
    for result in results:
        interrupted |= result.failure is not None and result.failure.kind == "interrupted"
        found[result.case.id] = _healthy(full[result.case.id], result, baselines)
    ordered = [found[case.id] for case in cases if case.id in found]
    return (
        [one for one in ordered if isinstance(one, HealthyCase)],
        [one for one in ordered if isinstance(one, Sick)],
        interrupted,
    )


def run_faults(
    healthy: Sequence[HealthyCase],
    faults: Sequence[Fault],
    *,
    settings: DrillSettings,
    noise: Mapping[str, Noise] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Iterator[FaultOutcome]:
    """Plant every fault in every case; outcomes come as the runs end.

    Raises:
        InfrastructureError: a folder cannot be written.
    """
    by_case = {one.case.id: one for one in healthy}
    runs: dict[str, MutatedRun] = {}
    for one in healthy:
        for fault in faults:
            run = mutated(one.case, fault, seed=settings.seed)
            runs[run.run_id] = run
    seconds: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, CaseFinished):
            seconds[event.result.case.id] = event.seconds
        if on_event is not None:
            on_event(event)

    cases = tuple(run.run_case for run in runs.values())
    mutations = {name: run.mutation for name, run in runs.items()}
    accepted = {name: by_case[run.case.id].lookup for name, run in runs.items()}
    for result in run_cases(cases, mutations, settings, "faults", listen, accepted=accepted):
        run = runs[result.case.id]
        own = by_case[run.case.id]
        restored = under_its_own_id(result, run.case)
        if run.fault.silent:
            restored = _of_the_same_data(restored, own.observation)
        yield outcome_of(
            run.fault,
            restored,
            verdict_of(restored, own.lookup),
            healthy=own.observation,
            noise=(noise or {}).get(run.case.id),
            seconds=seconds.get(result.case.id, 0.0),
        )


def in_order(
    outcomes: Sequence[FaultOutcome], healthy: Sequence[HealthyCase], faults: Sequence[Fault]
) -> tuple[FaultOutcome, ...]:
    """Outcomes by case and by fault, whatever order they came in."""
    cases = {one.case.id: index for index, one in enumerate(healthy)}
    names = {fault.name: index for index, fault in enumerate(faults)}
    return tuple(sorted(outcomes, key=lambda one: (cases[one.case_id], names[one.fault.name])))


def under_its_own_id(result: CaseResult, case: Case) -> CaseResult:
    """The result of a mutated run as one of the case itself, for the judge and the baseline."""
    observation = result.observation
    if observation is not None:
        observation = replace(observation, case_id=case.id)
    return replace(result, case=case, observation=observation)


def _of_the_same_data(result: CaseResult, healthy: Observation) -> CaseResult:
    """With the healthy run's digest of the data: a real gate whose preprocessing code has changed
    would report that, and only the drill's cache must tell the samples apart."""
    if result.observation is None:
        return result
    observation = replace(result.observation, data_digest=healthy.data_digest)
    return replace(result, observation=observation)


def run_cases(
    cases: tuple[Case, ...],
    mutations: Mapping[str, Mutation],
    settings: DrillSettings,
    part: str,
    on_event: Callable[[Event], None] | None,
    *,
    accepted: Mapping[str, BaselineLookup] | None = None,
    baselines_dir: Path | None = None,
) -> Iterator[CaseResult]:
    """Run cases in the folder ``part`` of the drill; results come as they end.

    Latency is compared with the baselines of ``accepted``, by the ids of the runs, or else with
    those in ``baselines_dir``.
    """
    if not cases:
        return iter(())
    run_dir = settings.run_dir / part
    run_dir.mkdir(parents=True, exist_ok=True)
    return run_plan(
        Plan(cases=cases),
        settings=RunSettings(
            run_dir=run_dir,
            cache_dir=settings.cache_dir or settings.run_dir / "cache",
            jobs=settings.jobs,
            mutations=mutations,
            pictures=False,
            baselines_dir=baselines_dir,
            accepted={
                name: lookup.baseline
                for name, lookup in (accepted or {}).items()
                if isinstance(lookup, BaselineFound)
            },
        ),
        on_event=on_event,
    )


def _healthy(case: Case, result: CaseResult, baselines: BaselineStore) -> HealthyCase | Sick:
    observation = result.observation
    if observation is None:
        failure = result.failure
        why = result.skipped or (
            f"{failure.kind} in stage {failure.stage}: {failure.message}"
            if failure
            else "no result"
        )
        return Sick(case_id=case.id, reason=why)
    lookup, source = _stored(case, observation, baselines), "store"
    if case.baseline_policy == "ignore":
        source = "ignored"
    verdict = verdict_of(result, lookup) if lookup is not None else None
    if lookup is None or verdict is None or verdict.status not in _ACCEPTABLE:
        lookup, source = _own(case, observation), IN_MEMORY
        # Nothing was there to compare with while it ran; what is counted from it, it meets.
        first = replace(result, case=replace(result.case, baseline_policy="record"))
        verdict = verdict_of(first, BaselineMissing(path=""))
    if verdict.status not in _ACCEPTABLE:
        failed = [c for c in verdict.checks if c.status is verdict.status]
        bad = failed[0] if failed else None
        why = f"{bad.tier}.{bad.rule} of {bad.subject}: {bad.message}" if bad else ""
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return Sick(
            case_id=case.id, reason=f"{verdict.status} without any fault: {why}{more}".rstrip()
        )
    return HealthyCase(
        case=case,
        observation=observation,
        lookup=lookup,
        verdict=verdict,
        baseline_from=source,
    )


def _stored(
    case: Case, observation: Observation, baselines: BaselineStore
) -> BaselineLookup | None:
    """The stored baseline where it is of this kind of machine, of these samples and of this very
    candidate: what a fault changes is to be seen, not what changed before."""
    if case.baseline_policy == "ignore":
        return BaselineMissing(path="")
    lookup = baselines.lookup(case.id, observation.environment, case.comparability)
    if not isinstance(lookup, BaselineFound):
        return None
    there = lookup.baseline
    same = (there.data_digest, there.artifacts) == (observation.data_digest, observation.artifacts)
    return lookup if same else None


def _own(case: Case, observation: Observation) -> BaselineLookup:
    """A baseline of the healthy run, in memory."""
    if case.baseline_policy == "ignore":
        return BaselineMissing(path="")
    provenance = Provenance(
        reason=IN_MEMORY, commit="", author="", date="this drill", gate_version=""
    )
    return BaselineFound(baseline=make_baseline(case, observation, provenance))
