"""A case in short, for choosing: one candidate made, observed and judged beside others.

The judge is the one of every case. What is left to the case itself: comparisons with a baseline,
probes, memory, time to load, and latencies in fresh processes; a speed-up that is demanded is taken
here too, from fewer rounds in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.baseline import BaselineMissing
from gate.core.case import Case
from gate.core.choice import Tried
from gate.core.observation import Observation, TimingObserved
from gate.core.spec import QuantizationSpec
from gate.core.status import Status, Tier
from gate.core.task import CLASSIFICATION
from gate.core.tensors import TensorMap
from gate.core.verdict import Verdict
from gate.data.base import Batch, SampleSet
from gate.judge.judge import judge
from gate.judge.latency import timed
from gate.judge.measure import Measured, measure
from gate.models.base import LoadedModel
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.opened import sessions
from gate.run.prepare import Prepared, Workshop
from gate.run.resources import sizes_only
from gate.tiers.device import RUNS_PER_ROUND, observe_rounds
from gate.tiers.layers import TABLE_BATCH, observe_layers
from gate.tiers.numerical import observe_numerical
from gate.tiers.task import TaskScorer
from gate.tiers.task_custom import CustomScorer
from gate.tiers.task_table import task_scorer

LEFT_TO_THE_CASE = frozenset({"peak_memory", "load_time", "slowdown", "new_flips"})
"""Metrics that a trial does not measure."""
ROUNDS, WARMUP = 20, 5
_WHY_SHOWN = 3

Alone = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What candidates are made from and measured on."""

    native: LoadedModel
    samples: SampleSet
    calibration: SampleSet | None
    cache: Cache
    announcer: Announcer
    work: Path
    alone: Alone = nullcontext
    """Gives a context in which no other worker computes: for timing."""


def tried(case: Case, quantization: QuantizationSpec, bench: Bench) -> Tried:
    """Make one candidate of a case, observe it and judge it by the case's tolerances.

    Raises:
        ModelError, QuantizeError, BackendError, OutputError: it cannot be made or run.
    """
    began = time.monotonic()
    case = trial_case(case, quantization)
    made = made_candidate(case, bench)
    with sessions(case, made) as (reference, candidate):
        observation = _observed(case, bench, made, reference, candidate)
    why = failures(judge(case, observation, BaselineMissing(path="")))
    return Tried(
        name=quantization.name,
        holds=not why,
        why=why,
        size_bytes=made.artifact.size_bytes,
        figures=figures(case, measure(observation, with_layers=False)),
        seconds=time.monotonic() - began,
    )


def trial_case(case: Case, quantization: QuantizationSpec) -> Case:
    """The case with one of the alternatives, and without what a trial does not measure."""
    run = case.run
    return replace(
        case,
        quantization=replace(quantization, name=case.quantization.name),
        baseline_policy="ignore",
        expected_failure=None,
        expected_metrics=(),
        probes=(),
        tolerances=tuple(t for t in case.chosen_by if t.metric not in LEFT_TO_THE_CASE),
        run=replace(
            run,
            timing_rounds=min(run.timing_rounds, ROUNDS),
            timing_warmup=min(run.timing_warmup, WARMUP),
        ),
    )


def failures(verdict: Verdict) -> str:
    """What a verdict does not hold, for people: the first few checks; empty where all hold.
    What is not decided does not hold."""
    bad = [
        check
        for check in verdict.checks
        if check.status in (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE)
    ]
    told = dict.fromkeys(
        f"{c.rule}{'' if c.subject == 'case' else f' of {c.subject}'}: {c.message}" for c in bad
    )
    more = len(told) - _WHY_SHOWN
    shown = list(told)[:_WHY_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(shown)


def figures(case: Case, measured: Measured) -> Mapping[str, float]:
    """The few numbers by which candidates are told apart, and what the case demands of the device."""
    found = {}
    sqnr = [m.value for m in measured.of(Tier.NUMERICAL, "sqnr")]
    if sqnr and None not in sqnr:
        found["sqnr"] = min(value for value in sqnr if value is not None)
    demanded = (t.metric for t in case.tolerances if t.tier is Tier.DEVICE)
    for metric in dict.fromkeys(("top1", "top1_drop", "speedup", *demanded)):
        for measurement in measured.of(Tier.DEVICE, metric):
            if measurement.value is not None:
                found[metric] = measurement.value
    return found


def made_candidate(case: Case, bench: Bench) -> Prepared:
    """The candidate as a run makes it, or from the cache.

    Raises:
        ModelError, QuantizeError: it cannot be made.
    """
    workshop = Workshop(
        case, cache=bench.cache, announcer=bench.announcer, work=bench.work, notes=[]
    )
    return workshop.prepare(bench.native, bench.calibration)


def _observed(
    case: Case, bench: Bench, made: Prepared, reference: Session, candidate: Session
) -> Observation:
    samples = bench.samples
    seen = observe_outputs(case, bench, reference.run, candidate)
    layers = None
    if Tier.LAYERS in case.tiers:
        limit = min(case.run.layer_samples, len(samples))
        layers = observe_layers(
            reference,
            candidate,
            sample=next(samples.batches(TABLE_BATCH, limit=TABLE_BATCH)).inputs,
            batches=lambda size: (b.inputs for b in samples.batches(size, limit=limit)),
            tick=lambda _: None,
        ).layers
    return replace(
        seen,
        layers=layers,
        timing=_timing(case, bench, reference, candidate),
        resources=sizes_only(made) if Tier.DEVICE in case.tiers else None,
    )


def observe_outputs(
    case: Case,
    bench: Bench,
    reference: Callable[[TensorMap], TensorMap],
    candidate: Session,
    *,
    limit: int | None = None,
) -> Observation:
    """Outputs and correctness alone, over the bench's samples (the first ``limit`` of them).

    Raises:
        OutputError, BackendError: a model does not answer.
    """
    scorer, custom = (
        task_scorer(case.model, case.data.preprocess),
        [CustomScorer(metric) for metric in case.metrics],
    )
    batches = bench.samples.batches(case.run.batch, limit=limit)
    return observed_on(case, batches, reference, candidate, scorer=scorer, custom=custom)


def observed_on(
    case: Case,
    batches: Iterable[Batch],
    reference: Callable[[TensorMap], TensorMap],
    candidate: Session,
    *,
    scorer: TaskScorer | None = None,
    custom: Sequence[CustomScorer] = (),
) -> Observation:
    """Outputs over ``batches``, and what the scorers make of them.

    Raises:
        OutputError, BackendError: a model does not answer.
    """
    seen = observe_numerical(
        batches,
        reference=reference,
        candidate=candidate.run,
        classification=case.model.task in CLASSIFICATION,
        tick=lambda _: None,
        scorers=[*filter(None, (scorer,)), *custom],
    )
    backend: Backend = plugins.load("backends", case.target.backend)
    return Observation(
        case_id=case.id,
        spec_digest=case.spec_digest,
        data_digest="",
        calibration_digest=None,
        environment=backend.environment(case.target),
        artifacts={},
        samples_planned=seen.samples,
        samples_evaluated=seen.samples,
        outputs=seen.outputs,
        missing_outputs=seen.missing_outputs,
        task=seen.task,
        scores=scorer.result() if scorer is not None else None,
        custom=tuple(one.result() for one in custom),
    )


def _timing(
    case: Case, bench: Bench, reference: Session, candidate: Session
) -> TimingObserved | None:
    if not any(timed(tolerance) for tolerance in case.tolerances):
        return None
    run = case.run
    inputs = next(bench.samples.batches(run.timing_batch, limit=run.timing_batch)).inputs
    with bench.alone():
        sides = observe_rounds(
            {"reference": reference, "candidate": candidate},
            inputs,
            warmup=run.timing_warmup,
            rounds=run.timing_rounds,
        )
    return TimingObserved(
        batch=len(next(iter(inputs.values()))),
        warmup_rounds=run.timing_warmup,
        reference_wall_ns=tuple(sides["reference"].wall),
        candidate_wall_ns=tuple(sides["candidate"].wall),
        reference_cpu_ns=tuple(sides["reference"].cpu),
        candidate_cpu_ns=tuple(sides["candidate"].cpu),
        runs_per_round=RUNS_PER_ROUND,
    )
