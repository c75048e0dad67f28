"""Timing a case: launch after launch until every latency tolerance is decided, or none are left.

A tolerance that fails is put to a second, fresh set of launches before it is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gate.core.artifact import Artifact
from gate.core.baseline import BaselineLookup, BaselineMissing
from gate.core.case import Case
from gate.core.observation import Observation, TimingObserved
from gate.core.status import Status
from gate.core.tensors import TensorMap
from gate.core.verdict import Check
from gate.judge.latency import timed, timing_checks, wants_base, wants_ratio
from gate.metrics.sequential import looks
from gate.run.base import Base
from gate.run.companion import Companions
from gate.run.job import Job, LaunchAnswer, LaunchJob
from gate.run.launch import Launch
from gate.run.prepare import Prepared
from gate.run.probe import candidate_model, model_file, save_inputs
from gate.spec.diagnostics import shown
from gate.tiers.device import RUNS_PER_ROUND

RATIO_LAUNCHES = 5
"""Launches without which a ratio is no baseline to compare later ones with."""
_EARLY = 2
"""Launches that are started beside other work: their imports take as long as ours."""


def early_launches(case: Case) -> int:
    """Launches that are taken in any case."""
    return min(_EARLY, case.run.timing_processes) if _demanded(case) else 1


class Timing:
    """The launches of one case. ``start`` early, ``take`` when the machine is quiet."""

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        base: Base,
        companions: Companions,
        *,
        inputs: TensorMap,
        folder: Path,
    ) -> None:
        folder.mkdir()
        case = job.case
        self._case = case
        self._prepared = prepared
        self._base = base
        self._companions = companions
        self._batch = len(next(iter(inputs.values())))
        self._files = save_inputs(inputs, folder)
        self._folder = folder
        self._mutation = job.mutation
        self._waiting: list[Launch] = []
        self._begun = 0
        self._taken: list[LaunchAnswer] = []
        self._answers: list[LaunchAnswer] = []

    def first(self) -> LaunchJob | None:
        """The first launch, where the process that measures memory may take it at its end: models
        that were opened and closed before are no harm to a comparison with the reference, whose
        bounds are far, and spare a process. Beside a base every launch begins alike."""
        return self._job() if self._base.artifact is None else None

    def start(self) -> None:
        """Start the other launches that are taken in any case."""
        while self._begun < early_launches(self._case):
            self._waiting.append(self._launch())

    def wait_until_ready(self) -> None:
        """Wait for the end of what need not be quiet.

        Raises:
            BackendError: a launch has failed.
        """
        for launch in self._waiting:
            launch.wait_until_ready()

    def close(self) -> None:
        """End every launch, however far it is."""
        for launch in self._waiting:
            launch.close()

    def take(
        self,
        facts: Observation,
        lookup: BaselineLookup | None,
        tick: Callable[[int], None],
        *,
        first: LaunchAnswer | None = None,
    ) -> TimingObserved:
        """Launch until the case's latency tolerances are decided.

        Args:
            facts: the observation so far; its timing is filled in.
            lookup: the baseline, if one was looked for.
            first: what another process took for ``first()``.
            tick: called with the number of launches so far.

        Raises:
            BackendError: a launch has failed.
        """
        self._taken = [first] if first is not None else []
        if not _demanded(self._case):
            self._next(tick)
            return self._observed(None)
        found = lookup or BaselineMissing(path="")
        self._set(facts, found, None, tick)
        observed = self._observed(None)
        if any(map(_by_rounds, _failed(self._case, facts, observed, found))):
            second = len(self._answers)
            self._set(facts, found, second, tick)
            observed = self._observed(second)
        return observed

    def _set(
        self,
        facts: Observation,
        lookup: BaselineLookup,
        second: int | None,
        tick: Callable[[int], None],
    ) -> None:
        """One set of launches: until every check is decided at a look, or all looks are taken."""
        for number in range(1, self._at_most + 1):
            self._next(tick)
            if number not in looks(self._at_most) or number < self._at_least:
                continue
            observed = self._observed(second)
            checks = timing_checks(self._case, replace(facts, timing=observed), lookup)
            if all(check.status is not Status.INCONCLUSIVE for check in checks):
                return

    @property
    def _at_most(self) -> int:
        return self._case.run.timing_processes

    @property
    def _at_least(self) -> int:
        """A run that may become the first baseline, or is compared by a ratio, needs more of them."""
        instead = wants_base(self._case) and self._base.artifact is None and not self._base.same
        by_ratio = instead or wants_ratio(self._case)
        return min(RATIO_LAUNCHES, self._at_most) if by_ratio else 1

    def _next(self, tick: Callable[[int], None]) -> None:
        if self._taken:
            self._answered(self._taken.pop())
            return
        if not self._waiting:
            self._waiting.append(self._launch())
            self._waiting[0].wait_until_ready()
        tick(len(self._answers))  # before, so that what it wakes is asleep again when it counts
        self._answered(self._waiting[0].measure())
        del self._waiting[0]

    def _launch(self) -> Launch:
        folder = self._folder / f"launch-{self._begun}"
        return Launch(self._companions.take(), self._job(), folder)

    def _answered(self, answer: LaunchAnswer) -> None:
        """Take one launch in. A base that no longer runs is none: the stored ratio is left."""
        if answer.base_error and self._base.artifact is not None:
            name = self._base.artifact.sha256[:12]
            note = f"the baseline's artifact {name} no longer runs: {shown(answer.base_error, 240)}"
            self._base = Base(artifact=None, note=note)
        self._answers.append(answer)

    def _job(self) -> LaunchJob:
        prepared, number = self._prepared, self._begun
        self._begun += 1
        return LaunchJob(
            number=number,
            case=self._case,
            candidate_model=candidate_model(prepared),
            reference_model=model_file(prepared.reference),
            reference_target=prepared.reference_target,
            artifact=prepared.artifact,
            base=self._base.artifact,
            inputs=self._files,
            mutation=self._mutation,
        )

    def _observed(self, second: int | None) -> TimingObserved:
        answers = self._answers
        base: Artifact | None = self._base.artifact
        bases = [answer.base for answer in answers if answer.base is not None and base is not None]
        return TimingObserved(
            batch=self._batch,
            warmup_rounds=self._case.run.timing_warmup,
            reference_wall_ns=tuple(ns for a in answers for ns in a.reference.wall_ns),
            candidate_wall_ns=tuple(ns for a in answers for ns in a.candidate.wall_ns),
            reference_cpu_ns=tuple(ns for a in answers for ns in a.reference.cpu_ns),
            candidate_cpu_ns=tuple(ns for a in answers for ns in a.candidate.cpu_ns),
            launch=tuple(i for i, a in enumerate(answers) for _ in a.candidate.wall_ns),
            runs_per_round=RUNS_PER_ROUND,
            base_wall_ns=tuple(ns for times in bases for ns in times.wall_ns),
            base_cpu_ns=tuple(ns for times in bases for ns in times.cpu_ns),
            base_sha256=base.sha256 if base is not None else "",
            base_note=self._base.note,
            confirming_from=second,
        )


def _demanded(case: Case) -> bool:
    return any(timed(tolerance) for tolerance in case.tolerances)


def _failed(
    case: Case, facts: Observation, observed: TimingObserved, lookup: BaselineLookup
) -> list[Check]:
    checks = timing_checks(case, replace(facts, timing=observed), lookup)
    return [check for check in checks if check.status is Status.FAIL]


def _by_rounds(check: Check) -> bool:
    """Whether other launches could have come to another end: something was measured and compared."""
    measured = check.measurement is not None and check.measurement.value is not None
    return measured and check.bound is not None
