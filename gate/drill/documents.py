"""What a drill found, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gate.core.convert import to_plain
from gate.drill.engine import Drill, HealthyCase
from gate.drill.healthy import HealthyRepeats
from gate.drill.outcome import FaultOutcome, Finding, Score, score, score_by_family
from gate.drill.report import advice_line, layers_named, naming, noticed_by
from gate.judge.wording import count

DRILL_SCHEMA = 1


def as_json(drill: Drill, *, require: float, repeats: HealthyRepeats | None = None) -> str:
    """Everything, at full precision, in the order of plan and catalogue."""
    document = {
        "schema": DRILL_SCHEMA,
        "seed": drill.seed,
        "interrupted": drill.interrupted,
        "seconds": round(drill.seconds, 3),
        "required_percent": require,
        "score": _score(score(drill.outcomes)),
        "families": {f: _score(s) for f, s in score_by_family(drill.outcomes).items()},
        "cases": [_case(one, drill.outcomes) for one in drill.healthy],
        "not_drilled": [
            *({"case": one.id, "reason": one.reason} for one in drill.not_applicable),
            *({"case": one.case_id, "reason": one.reason} for one in drill.sick),
        ],
        "healthy_repeats": _repeats(repeats) if repeats is not None else None,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(drill: Drill, *, require: float, repeats: HealthyRepeats | None = None) -> str:
    """A page: score, families, what slipped, then every fault."""
    total = score(drill.outcomes)
    lines = ["# Drill", ""]
    if total.percent is None:
        lines += ["No effective fault was planted: nothing is proved.", ""]
    else:
        head = (
            f"**{total.caught} of {count(total.effective, 'fault')} caught "
            f"({total.percent:.1f} %, required {require:g} %)**, {layers_named(total)}, "
            f"{total.equivalent} equivalent, {total.not_here} not here, seed {drill.seed}."
        )
        lines += [head, ""]
    if repeats is not None:
        alarms = count(len(repeats.alarms), "false alarm")
        lines += [f"{alarms} in {count(repeats.runs, 'healthy rerun')}.", ""]
    lines += _grid(
        ("family", "caught", "right layer", "equivalent", "not here"),
        [
            (f, f"{s.caught}/{s.effective}", f"{s.named}/{s.with_layer}", s.equivalent, s.not_here)
            for f, s in score_by_family(drill.outcomes).items()
        ],
    )
    for one in drill.healthy:
        lines += _case_page(one, [o for o in drill.outcomes if o.case_id == one.case.id])
    left_out = [(one.id, one.reason) for one in drill.not_applicable]
    left_out += [(one.case_id, one.reason) for one in drill.sick]
    if left_out:
        lines += ["## Not drilled", "", *_grid(("case", "reason"), left_out)]
    return "\n".join(lines).rstrip() + "\n"


def _case_page(one: HealthyCase, outcomes: Sequence[FaultOutcome]) -> Iterator[str]:
    yield f"## {one.case.id}"
    yield ""
    samples = count(one.observation.samples_evaluated, "sample")
    yield f"Baseline: {one.baseline_from}; {samples}."
    yield ""
    slipped = [o for o in outcomes if o.finding is Finding.SLIPPED]
    for o in slipped:
        yield f"- **{o.fault.name}** slipped through ({o.fault.summary}). {advice_line(o)}."
    if slipped:
        yield ""
    yield from _grid(
        ("family", "fault", "finding", "first noticed by", "planted in", "layer named"),
        [
            (
                o.fault.family,
                o.fault.name,
                o.finding.value,
                noticed_by(o) if o.effective else o.reason,
                (o.planted.layer or "") if o.planted else "",
                naming(o),
            )
            for o in outcomes
        ],
    )


def _grid(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    def line(cells: Sequence[object]) -> str:
        shown = (" ".join(str(c).replace("|", r"\|").split()) for c in cells)
        return f"| {' | '.join(shown)} |"

    return [line(headers), f"|{'---|' * len(headers)}", *(line(row) for row in rows), ""]


def _score(found: Score) -> Mapping[str, Any]:
    return {**asdict(found), "percent": found.percent, "named_percent": found.named_percent}


def _case(one: HealthyCase, outcomes: Sequence[FaultOutcome]) -> Mapping[str, Any]:
    own = [o for o in outcomes if o.case_id == one.case.id]
    return {
        "case": one.case.id,
        "baseline": one.baseline_from,
        "samples": one.observation.samples_evaluated,
        "score": _score(score(own)),
        "faults": [_fault(o) for o in own],
    }


def _fault(o: FaultOutcome) -> Mapping[str, Any]:
    return {
        "fault": o.fault.name,
        "family": o.fault.family,
        "summary": o.fault.summary,
        "source": o.fault.source,
        "expected_tiers": [tier.value for tier in o.fault.tiers],
        "finding": o.finding.value,
        "reason": o.reason,
        "status": o.status.value if o.status is not None else None,
        "in_expected_tier": o.in_expected_tier,
        "planted": to_plain(o.planted) if o.planted is not None else None,
        "caught_by": [
            {
                "tier": c.tier.value,
                "rule": c.rule,
                "tolerance": c.tolerance,
                "subject": c.subject,
                "message": c.message,
            }
            for c in o.catches
        ],
        "layer_named": o.named,
        "rightly_named": o.rightly_named,
        "advice": None
        if o.advice is None
        else {"metric": o.advice.key, "tolerance": o.advice.text, "allowed": o.advice.allowed},
        "metrics": [
            {
                "metric": f"{s.tier}.{s.metric}",
                "subject": s.subject,
                "healthy": s.healthy,
                "faulty": s.faulty,
                "noise": s.band,
            }
            for s in o.shifts
        ],
        "seconds": round(o.seconds, 3),
    }


def _repeats(found: HealthyRepeats) -> Mapping[str, Any]:
    return {
        "runs": found.runs,
        "false_alarms": [asdict(alarm) for alarm in found.alarms],
        "without_result": [asdict(one) for one in found.failures],
        "seconds": round(found.seconds, 3),
    }
