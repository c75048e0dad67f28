"""The verdict on one observation."""

from __future__ import annotations

from collections.abc import Iterator

from gate.core.baseline import BaselineLookup
from gate.core.case import Case
from gate.core.findings import STALE_BASELINE
from gate.core.observation import Observation
from gate.core.status import Status, Tier
from gate.core.verdict import Check, Verdict
from gate.judge.accuracy import compare_flips, new_flips_note, with_flips
from gate.judge.comparison import Comparison, compare
from gate.judge.contract import contract
from gate.judge.improvement import improvement
from gate.judge.latency import crowded, judge_timed
from gate.judge.layers import unobservable
from gate.judge.localise import first_bad_layer
from gate.judge.measure import Measured, measure
from gate.judge.pin import reference_pin
from gate.judge.pinned import pin_notes
from gate.judge.probes import probes
from gate.judge.soundness import soundness
from gate.judge.suspicion import suspicion
from gate.judge.wording import names


def judge(
    case: Case,
    observation: Observation,
    baseline: BaselineLookup,
    measured: Measured | None = None,
) -> Verdict:
    """Judge an observation by its case's tolerances, the rules that always hold, and a baseline.

    Pure: the same three values give the same verdict, on any machine and at any time. ``measured`` is
    what ``measure`` makes of the observation, for who needs it beside the verdict.
    """
    comparison = compare(case, observation, baseline)
    flips = compare_flips(observation, comparison.baseline)
    compared = comparison.baseline is not None
    measured = with_flips(measured or measure(observation), flips, compared=compared)
    checks: list[Check] = []
    if comparison.baseline is not None:
        # First: beside a broken reference nothing else means anything.
        checks += reference_pin(case, observation, comparison.baseline)
    checks += [*soundness(case, observation), *suspicion(case, observation), *comparison.checks]
    if comparison.baseline is not None:
        checks += contract(case, observation, comparison.baseline)
    bounded = [
        check
        for tolerance in case.tolerances
        for check in judge_timed(case, tolerance, observation, measured, comparison)
    ]
    checks += bounded
    checks += probes(case, observation)
    if comparison.baseline is not None:
        checks += improvement(case, measured, comparison, bounded)
    bad = first_bad_layer(checks, measured, comparison, observation.probes)
    return Verdict(
        case_id=case.id,
        checks=tuple(checks),
        expected_failure=case.expected_failure,
        expected_metrics=case.expected_metrics,
        first_bad_layer=bad.name if bad is not None else None,
        first_bad_layer_why=bad.why if bad is not None else "",
        baseline_note=comparison.note,
        notes=(
            *_notes(case, observation, comparison),
            *(c.message for c in checks if c.rule == STALE_BASELINE and c.status is Status.PASS),
            *filter(None, map(new_flips_note, flips)),
        ),
        flips=flips,
    )


def _notes(case: Case, observation: Observation, comparison: Comparison) -> Iterator[str]:
    if case.stand_in is not None:
        yield f"the model is {case.stand_in.note}"
    yield from pin_notes(case.model)
    yield from observation.notes
    if observation.spec_digest != case.spec_digest:
        yield "the observation was taken under another version of the spec"
    yield from comparison.notes
    yield from crowded(observation)
    if Tier.LAYERS in case.tiers and observation.layers is not None:
        hidden = unobservable(observation.layers)
        if hidden:
            yield f"no output to compare, no arithmetic of their own: {names(hidden)}"
