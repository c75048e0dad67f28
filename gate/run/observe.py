"""One case in its worker: model, data, quantize, open, numerical, layers, device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, Session
from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineBroken, BaselineFound, BaselineLookup
from gate.core.canonical import JsonValue
from gate.core.layer import LayersObserved
from gate.core.observation import Observation
from gate.core.probes import ProbeObserved
from gate.core.spec import TargetSpec
from gate.core.status import Tier
from gate.core.task import CLASSIFICATION
from gate.core.tensors import TensorMap
from gate.data.base import SampleSet
from gate.data.samples import open_samples
from gate.metrics.certificate import hopeless
from gate.models.base import LoadedModel
from gate.run.announce import Announcer
from gate.run.base import find_base
from gate.run.beside import Turns, beside, room_beside, take_layers
from gate.run.cache import Cache
from gate.run.choose import note, settled
from gate.run.companion import Companions
from gate.run.conversion import conversion_error
from gate.run.crashes import together
from gate.run.flips import collector, hand_over
from gate.run.hostile import run_probes
from gate.run.job import Job
from gate.run.locks import Machine
from gate.run.mutation import UNCHANGED, Mutator
from gate.run.prepare import Prepared, Workshop
from gate.run.probe import Probe
from gate.run.reference import LazySession, reference_key, reference_outputs
from gate.run.resources import resources, sizes_only
from gate.run.timing import Timing, early_launches
from gate.tiers.layers import LayersSeen
from gate.tiers.numerical import NumericalObserved, observe_numerical
from gate.tiers.task_custom import CustomScorer
from gate.tiers.task_table import task_scorer

CONVERSION_SAMPLES = 8
MUTATION_PROBES = (16, 1)
"""Batches on which a planted fault must show at all; some faults are in a batch of one alone."""


def observe(
    job: Job, *, work: Path, announcer: Announcer, mutator: Mutator = UNCHANGED
) -> Observation:
    """Run one case and return what was seen.

    Raises:
        ModelError, DataError, QuantizeError, BackendError, EntryError, OutputError: something that
            the user can put right.
    """
    machine = Machine(job.lock_dir, jobs=job.jobs, announce=announcer.waiting)
    machine.enter()
    cache = Cache(job.cache_dir, limit_bytes=job.cache_bytes, announce=machine.outside)
    with ExitStack() as stack:
        run = _Run(job, cache=cache, announcer=announcer, work=work, stack=stack, mutator=mutator)
        return run.observe(machine)


class _Run:
    def __init__(
        self,
        job: Job,
        *,
        cache: Cache,
        announcer: Announcer,
        work: Path,
        stack: ExitStack,
        mutator: Mutator,
    ) -> None:
        case = job.case
        self._job = job
        timed = job.mutation is None or job.mutation.timed
        self._measures = timed and Tier.DEVICE in case.tiers
        self._companions = Companions(work / "companions", backend=case.target.backend)
        stack.callback(self._companions.close)
        self._mutator = mutator
        self._case = case
        self._cache = cache
        self._announcer = announcer
        self._work = work
        self._stack = stack
        self._notes: list[str] = []
        self._flips = collector(case, pictures=job.pictures)
        self._scorer = task_scorer(case.model, case.data.preprocess)
        self._custom = [CustomScorer(metric) for metric in case.metrics]
        self._backend: Backend = mutator.backend(plugins.load("backends", case.target.backend))

    def observe(self, machine: Machine) -> Observation:
        case, announcer = self._case, self._announcer
        if self._measures:
            # The one that measures memory also takes the first launch.
            self._companions.start(early_launches(case))
        announcer.enter("model")
        native = plugins.load("sources", case.model.source).load(case.model, seed=case.run.seed)
        announcer.enter("data")
        evaluation, calibration = open_samples(case.data, case.model.inputs)
        healthy, evaluation = evaluation, Turns(self._mutator.evaluation(evaluation))
        for line in hopeless(case.tolerances, len(evaluation)):
            self._notes.append(line)
            announcer.say(line)
        announcer.enter("quantize")
        making, choice = settled(
            case,
            native,
            evaluation=healthy,
            calibration=calibration,
            cache=self._cache,
            announcer=announcer,
            work=self._work,
            given=self._job.given_candidates,
            alone=partial(machine.alone, again=True),
        )
        if choice is not None:
            self._notes.append(note(choice))
        making, calibration = self._mutator.making(making, calibration)
        workshop = Workshop(
            making,
            cache=self._cache,
            announcer=announcer,
            work=self._work,
            notes=self._notes,
            mutator=self._mutator,
            probes=lambda: [_first(evaluation, count) for count in MUTATION_PROBES],
            keep=self._job.keep_candidates,
            given=self._job.given_candidates,
        )
        prepared = workshop.prepare(native, calibration)
        announcer.enter("open")
        timing = self._timing(prepared, evaluation)
        probe = self._start_probe(prepared, evaluation, timing)
        candidate = self._stack.enter_context(
            self._backend.open_candidate(prepared.artifact, model=prepared.base, target=case.target)
        )
        reference = LazySession(prepared.reference, prepared.reference_target, self._stack)
        conversion = conversion_error(
            case,
            prepared,
            reference,
            inputs=lambda: _first(evaluation, CONVERSION_SAMPLES),
            key=lambda model, target: self._key(model, target, evaluation),
            cache=self._cache,
            announcer=announcer,
            notes=self._notes,
        )
        numerical, probes, layers = self._tiers(
            prepared, reference, candidate, evaluation, calibration
        )
        facts = Observation(
            case_id=case.id,
            spec_digest=case.spec_digest,
            data_digest=evaluation.digest(),
            calibration_digest=calibration.digest() if calibration is not None else None,
            environment=self._backend.environment(case.target),
            artifacts={
                "reference": prepared.reference.sha256,
                "candidate": prepared.artifact.sha256,
            },
            samples_planned=len(evaluation),
            samples_evaluated=numerical.samples,
            conversion_relative_mse_percent=conversion,
            pin=numerical.pin,
            outputs=numerical.outputs,
            missing_outputs=numerical.missing_outputs,
            task=numerical.task,
            scores=self._scorer.result() if self._scorer is not None else None,
            custom=tuple(scorer.result() for scorer in self._custom),
            layers=layers,
            probes=probes,
            choice=choice,
        )
        observed, costs = None, None
        if probe is not None and timing is not None:
            announcer.enter("device")
            probe.wait_until_ready()
            timing.wait_until_ready()
            with machine.alone():
                tick = announcer.progress(2 * case.run.timing_processes)
                tick(0)
                cost = probe.measure()
                observed = timing.take(facts, self._lookup(), tick, first=cost.launch)
            costs = resources(prepared, reference.session, candidate, cost)
            if self._job.reference_memory:
                costs = replace(
                    costs, reference_peak_memory_bytes=self._reference_memory(prepared, evaluation)
                )
        elif Tier.DEVICE in case.tiers:
            costs = sizes_only(prepared)
        announcer.finish()
        return replace(
            facts,
            timing=observed,
            resources=costs,
            notes=(*self._notes, *numerical.notes),
            stage_seconds={s: round(spent, 3) for s, spent in together(announcer.seconds).items()},
        )

    def _tiers(
        self,
        prepared: Prepared,
        reference: LazySession,
        candidate: Session,
        evaluation: SampleSet,
        calibration: SampleSet | None,
    ) -> tuple[NumericalObserved, tuple[ProbeObserved, ...], LayersObserved | None]:
        """Numerical tier, probes and layers tier; the last beside the others where that can be."""
        case, announcer = self._case, self._announcer
        wanted = Tier.LAYERS in case.tiers
        home = plugins.load("backends", prepared.reference_target.backend)
        at_once = wanted and room_beside(self._job, self._backend, home)

        def take() -> LayersSeen:
            progress = _silent if at_once else announcer.progress
            return take_layers(case, reference, candidate, evaluation, progress=progress)

        with beside(take, at_once=at_once) as layers_seen:
            announcer.enter("numerical")
            numerical = self._numerical(prepared, reference, candidate, evaluation)
            hand_over(self._work, self._job, self._flips.result())
            probes = run_probes(
                case,
                reference=lambda: reference.session,
                candidate=candidate,
                evaluation=evaluation,
                calibration=calibration,
                announcer=announcer,
                crashed=self._job.crashed_probes,
            )
            layers = None
            if wanted:
                announcer.enter("layers")
                seen = layers_seen()
                self._notes += seen.notes
                layers = seen.layers
        return numerical, probes, layers

    def _start_probe(
        self, prepared: Prepared, evaluation: SampleSet, timing: Timing | None
    ) -> Probe | None:
        """Let the processes that measure memory and time open what they measure, beside other work."""
        if timing is None:
            return None
        inputs = _first(evaluation, self._case.run.timing_batch)
        job = self._job
        probe = Probe(
            self._companions.take(),
            job.case,
            prepared,
            inputs,
            self._work,
            mutation=job.mutation,
            launch=timing.first(),
        )
        self._stack.callback(probe.close)
        timing.start()
        return probe

    def _reference_memory(self, prepared: Prepared, evaluation: SampleSet) -> int:
        """Peak of a process that opens and runs nothing but the reference."""
        folder = self._work / "reference-memory"
        folder.mkdir()
        inputs = _first(evaluation, self._case.run.timing_batch)
        started = self._companions.take()
        probe = Probe(started, self._job.case, prepared, inputs, folder, reference_only=True)
        self._stack.callback(probe.close)
        return probe.measure().peak_memory_bytes

    def _timing(self, prepared: Prepared, evaluation: SampleSet) -> Timing | None:
        if not self._measures:
            return None
        timing = Timing(
            self._job,
            prepared,
            find_base(
                self._job,
                prepared,
                self._lookup(),
                self._cache,
                environment=self._backend.environment(self._case.target),
            ),
            self._companions,
            inputs=_first(evaluation, self._case.run.timing_batch),
            folder=self._work / "timing",
        )
        self._stack.callback(timing.close)
        return timing

    def _lookup(self) -> BaselineLookup | None:
        """The baseline that latency may be compared with; None where nobody asks for one."""
        case, folder = self._case, self._job.baselines_dir
        if self._job.accepted is not None:
            # A drill runs a case under other ids; what was accepted is the case's own.
            return BaselineFound(baseline=replace(self._job.accepted, case_id=case.id))
        if folder is None or case.baseline_policy == "ignore":
            return None
        environment = self._backend.environment(case.target)
        try:
            return BaselineStore(folder).lookup(case.id, environment, case.comparability)
        except BaselineError as error:  # the judge meets it again
            return BaselineBroken(path=str(folder), reason=str(error))

    def _numerical(
        self, prepared: Prepared, reference: LazySession, candidate: Session, evaluation: SampleSet
    ) -> NumericalObserved:
        case = self._case
        tick = self._announcer.progress(len(evaluation))
        with reference_outputs(
            self._cache,
            self._key(prepared.reference, prepared.reference_target, evaluation),
            samples=len(evaluation),
            compute=reference.run,
            announcer=self._announcer,
            notes=self._notes,
        ) as outputs:
            return observe_numerical(
                evaluation.batches(case.run.batch),
                reference=outputs,
                candidate=candidate.run,
                classification=case.model.task in CLASSIFICATION,
                tick=tick,
                flips=self._flips,
                scorers=[*filter(None, (self._scorer,)), *self._custom],
            )

    def _key(
        self, model: LoadedModel, target: TargetSpec, evaluation: SampleSet
    ) -> dict[str, JsonValue]:
        changes = self._mutator.changes_reference
        mutation = self._job.mutation if changes else None
        return reference_key(self._case, model, target, evaluation, mutation=mutation)


def _first(samples: SampleSet, count: int) -> TensorMap:
    """Inputs of the first ``count`` samples (of all, where there are fewer)."""
    return next(samples.batches(count, limit=count)).inputs


def _silent(_total: int) -> Callable[[int], None]:
    """Progress of what runs beside the stage that is shown."""
    return lambda _done: None
