"""The report for machines: every check of every case, at full precision, under a schema version.

Raw facts (samples, per-layer sums) stay in the run's result files, which are the records to judge
from; this file says what they came to.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gate import __version__
from gate.core.canonical import JsonValue
from gate.core.case import Case, NotApplicable
from gate.core.convert import to_plain
from gate.core.flipped import FlipsCompared
from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.core.verdict import Check, Verdict
from gate.judge.summary import summarize
from gate.report.explain import explain, first_check
from gate.report.figures import figures
from gate.report.outcome import Outcome, outcome
from gate.report.tiers import shown_tiers, tier_outcomes
from gate.run.parallel import mapped

REPORT_SCHEMA = 1
"""Grows when a key changes its meaning or goes; new keys may come without."""


def render(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    exit_code: int | None = None,
) -> str:
    """Write the report as one JSON document, keys in a fixed order, one case a line.

    ``exit_code`` is that of the command; None takes the one that no option has changed.

    A number that is not finite is written as ``"nan"``, ``"inf"`` or ``"-inf"``: JSON has no word
    for it, and null means that there is no number.
    """
    by_id = {result.case.id: result for result in results}
    counted = Counter(outcome(verdict) for verdict in verdicts)
    document = {
        "schema": REPORT_SCHEMA,
        "gate_version": __version__,
        "exit_code": summarize(verdicts).exit_code if exit_code is None else exit_code,
        "counts": {word.value: counted[word] for word in Outcome},
        "not_applicable": [to_plain(pair) for pair in not_applicable],
    }
    cases = ",\n".join(mapped(lambda v: f"  {_line(_case(v, by_id.get(v.case_id)))}", verdicts))
    head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "cases": [\n{cases}\n ]\n}}\n'


def _line(case: dict[str, JsonValue]) -> str:
    try:
        return json.dumps(case, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number that is not finite: rare, and looking for it takes long
        return json.dumps(_finite(case), ensure_ascii=False, allow_nan=False)


def _case(verdict: Verdict, result: CaseResult | None) -> dict[str, JsonValue]:
    first = first_check(verdict)
    parts = tier_outcomes(verdict, shown_tiers(result.case)) if result is not None else ()
    return {
        "id": verdict.case_id,
        "spec": result.case.spec_path if result is not None else None,
        "outcome": outcome(verdict).value,
        "status": verdict.status,
        "measured_status": verdict.measured_status,
        "tiers": {part.tier.value: part.status.value for part in parts},
        "first": _check(first) if first is not None else None,
        "first_bad_layer": verdict.first_bad_layer,
        "first_bad_layer_why": verdict.first_bad_layer_why,
        "explanation": [
            {"topic": line.topic.value, "text": line.text} for line in explain(verdict)
        ],
        "figures": to_plain(figures(result)),
        "checks": [_check(check) for check in verdict.checks],
        "failure": to_plain(verdict.failure) if verdict.failure is not None else None,
        "skipped": verdict.skipped,
        "expected_failure": verdict.expected_failure,
        "expected_metrics": list(verdict.expected_metrics),
        "baseline_note": verdict.baseline_note,
        "notes": list(verdict.notes),
        "flips": {entry.metric: _flips(entry) for entry in verdict.flips},
        "run": _run(result.observation, result.case)
        if result is not None and result.observation
        else None,
    }


def _check(check: Check) -> dict[str, JsonValue]:
    # Members of string enumerations are written as they are: there are hundreds of thousands.
    measured, tolerance = check.measurement, check.tolerance
    return {
        "tier": check.tier,
        "rule": check.rule,
        "subject": check.subject,
        "status": check.status,
        "value": measured.value if measured is not None else None,
        "unit": measured.unit if measured is not None else None,
        "low": measured.low if measured is not None else None,
        "high": measured.high if measured is not None else None,
        "why_none": measured.why_none if measured is not None else "",
        "detail": measured.detail if measured is not None else "",
        "bound": check.bound,
        "op": tolerance.op.value if tolerance is not None else None,
        "tolerance": tolerance.text if tolerance is not None else None,
        "where": str(tolerance.where) if tolerance is not None and tolerance.where else None,
        "baseline": check.baseline,
        "message": check.message,
    }


def _flips(flips: FlipsCompared) -> dict[str, JsonValue]:
    """Samples by their place in the evaluation set; null where there is nothing to compare with."""
    known = flips.accepted is not None
    return {
        "lost": list(flips.now.lost),
        "gained": list(flips.now.gained),
        "new": list(flips.new) if known else None,
        "gone": list(flips.gone) if known else None,
    }


def _run(seen: Observation, case: Case) -> dict[str, JsonValue]:
    """Identity and provenance of what ran."""
    return {
        "spec_digest": seen.spec_digest,
        "data_digest": seen.data_digest,
        "calibration_digest": seen.calibration_digest,
        "artifacts": dict(seen.artifacts),
        "environment": to_plain(seen.environment),
        "environment_class": case.comparability.class_of(seen.environment),
        "samples_planned": seen.samples_planned,
        "samples_evaluated": seen.samples_evaluated,
        "conversion_relative_mse_percent": seen.conversion_relative_mse_percent,
        "pin": to_plain(seen.pin) if seen.pin is not None else None,
        "notes": list(seen.notes),
        "stage_seconds": dict(seen.stage_seconds),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
