"""The verdict on one observation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gate.core.baseline import BaselineLookup
from gate.core.case import Case
from gate.core.observation import Observation
from gate.core.status import Tier
from gate.core.tolerance import Anchor
from gate.core.verdict import Check, Verdict
from gate.judge.accuracy import compare_flips, new_flips_note, with_flips
from gate.judge.comparison import Comparison, compare
from gate.judge.contract import contract
from gate.judge.device import TIME_METRICS
from gate.judge.latency import judge_timed
from gate.judge.layers import unobservable
from gate.judge.localise import first_bad_layer
from gate.judge.measure import measure
from gate.judge.probes import probes
from gate.judge.soundness import soundness
from gate.judge.suspicion import suspicion
from gate.judge.wording import names
from gate.metrics.catalogue import BY_NAME, Direction


def judge(case: Case, observation: Observation, baseline: BaselineLookup) -> Verdict:
    """Judge an observation by its case's tolerances, the rules that always hold, and a baseline.

    Pure: the same three values give the same verdict, on any machine and at any time.
    """
    comparison = compare(case, observation, baseline)
    flips = compare_flips(observation, comparison.baseline)
    compared = comparison.baseline is not None
    measured = with_flips(measure(observation), flips, compared=compared)
    checks = [*soundness(case, observation), *suspicion(case, observation), *comparison.checks]
    if comparison.baseline is not None:
        checks += contract(case, observation, comparison.baseline)
    for tolerance in case.tolerances:
        checks += judge_timed(case, tolerance, observation, measured, comparison)
    checks += probes(case, observation)
    bad = first_bad_layer(checks, measured, comparison)
    return Verdict(
        case_id=case.id,
        checks=tuple(checks),
        expected_failure=case.expected_failure,
        expected_metrics=case.expected_metrics,
        first_bad_layer=bad.name if bad is not None else None,
        first_bad_layer_why=bad.why if bad is not None else "",
        baseline_note=comparison.note,
        notes=(
            *_notes(case, observation, comparison, checks),
            *filter(None, map(new_flips_note, flips)),
        ),
        flips=flips,
    )


def _notes(
    case: Case, observation: Observation, comparison: Comparison, checks: Sequence[Check]
) -> Iterator[str]:
    yield from observation.notes
    if observation.spec_digest != case.spec_digest:
        yield "the observation was taken under another version of the spec"
    yield from comparison.notes
    if Tier.LAYERS in case.tiers and observation.layers is not None:
        hidden = unobservable(observation.layers)
        if hidden:
            yield f"no output to compare, no arithmetic of their own: {names(hidden)}"
    better = list(dict.fromkeys(_too_good(checks)))
    if better:
        yield (
            f"better than the baseline by more than its band: {names(better)}; "
            "the baseline is stale, or something is measured wrongly"
        )


def _too_good(checks: Iterable[Check]) -> Iterator[str]:
    """Values that lie as far on the good side of the baseline as the bound is on the bad side."""
    for check in checks:
        tolerance, measurement = check.tolerance, check.measurement
        if tolerance is None or tolerance.anchor is not Anchor.BASELINE:
            continue
        if measurement is None or measurement.value is None or check.bound is None:
            continue
        if check.baseline is None or tolerance.metric in TIME_METRICS:
            continue
        lower = BY_NAME[tolerance.tier, tolerance.metric].direction is Direction.LOWER
        band = abs(check.bound - check.baseline)
        gain = check.baseline - measurement.value if lower else measurement.value - check.baseline
        if 0.0 < band < gain:
            yield f"{tolerance.tier}.{tolerance.metric} of {check.subject}"
