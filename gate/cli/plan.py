"""``gate plan``: the cases, what each will run, on how many samples and about how long."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.cli.arguments import add_no_stand_ins, add_paths, add_select
from gate.cli.certificates import certificate_lines, certificates
from gate.cli.complain import complain
from gate.core.case import Case, Plan
from gate.core.convert import to_plain
from gate.core.spec import SampleSpec
from gate.core.status import ExitCode
from gate.judge.wording import count
from gate.run.costs import estimate
from gate.run.shards import plan_digest
from gate.spec.diagnostics import SpecError
from gate.spec.formats import needs_calibration
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.spec.skips import skip_reason

RUNS = ".gate/runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_paths(parser)
    add_select(parser)
    add_no_stand_ins(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print the plan."""
    try:
        planned = plan(load_specs(args.paths, stand_ins=not args.no_stand_ins), args.select)
    except (SpecError, SelectError) as error:
        complain(error)
        return ExitCode.USAGE
    past, unreadable = past_runs(project_root() / RUNS)
    skips = _skips(planned)
    if args.json:
        sys.stdout.write(_json(planned, past, skips))
    else:
        sys.stdout.write(_table(planned, past, skips))
    if unreadable:
        sys.stderr.write(f"{unreadable} stored results cannot be read and give no estimate\n")
    return ExitCode.PASS


def _skips(planned: Plan) -> dict[str, str | None]:
    """Case id -> why it cannot run here; cases that need the same are asked about once."""
    known: dict[tuple[Any, ...], str | None] = {}
    found: dict[str, str | None] = {}
    for case in planned.cases:
        calibration = case.data.calibration.source if case.data.calibration is not None else None
        sources = (case.model.source, case.data.evaluation.source, calibration)
        needs = (
            case.requires,
            case.stand_in,
            *sources,
            case.quantization.method,
            case.target.backend,
        )
        if needs not in known:
            known[needs] = skip_reason(case, probe=False)
        found[case.id] = known[needs]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the latest stored run of a case tells about the next one."""

    seconds: float
    samples: int
    """Evaluation samples that were planned."""


def past_runs(runs: Path) -> tuple[dict[str, Past], int]:
    """Case id -> its latest stored run that has an observation, and the number of unreadable files."""
    found: dict[str, Past] = {}
    unreadable = 0
    files = sorted(runs.glob("*/results/**/*.json"), key=lambda file: file.stat().st_mtime)
    for file in files:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            observation = record["observation"]
            if observation is not None:
                found[record["case"]["id"]] = Past(
                    seconds=float(sum(observation["stage_seconds"].values())),
                    samples=int(observation["samples_planned"]),
                )
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            unreadable += 1
    return found, unreadable


def _samples(case: Case, past: Past | None) -> int | None:
    """How many samples are evaluated; None where that shows only in a run."""
    if case.data.evaluation.samples is not None:
        return case.data.evaluation.samples
    return past.samples if past is not None else None


def _evaluated(case: Case, past: Past | None) -> str:
    spec = case.data.evaluation
    known = _samples(case, past)
    if known is not None:
        return str(known)
    return f"all but {spec.skip}" if spec.skip else "all"


def _calibration(case: Case) -> str:
    spec = case.data.calibration
    if spec is None or not needs_calibration(case.quantization.method, case.quantization.options):
        return "-"
    return "all" if spec.samples is None else str(spec.samples)


def _backend(case: Case) -> str:
    engine = case.target.options.get("engine")
    return f"{case.target.backend}/{engine}" if engine else case.target.backend


def duration(seconds: float) -> str:
    """``12 s``, ``3 min 20 s``."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _seconds(past: Mapping[str, Past], case: Case) -> float | None:
    return past[case.id].seconds if case.id in past else None


def _time(past: Mapping[str, Past], case: Case) -> str:
    known = _seconds(past, case)
    return f"~ {duration(estimate(case))}" if known is None else duration(known)


def _together(planned: Plan, past: Mapping[str, Past], skips: Mapping[str, str | None]) -> str:
    """How many cases run here, and how long all of them take."""
    runnable = [case for case in planned.cases if not skips[case.id]]
    if not runnable:
        return "0 run here"
    guessed = [case for case in runnable if case.id not in past]
    known = sum(past[case.id].seconds for case in runnable if case.id in past)
    total = duration(known + sum(map(estimate, guessed)))
    of_which = f" ({len(guessed)} estimated, as they have not run here yet)" if guessed else ""
    return f"{len(runnable)} run here; time about {total}{of_which}"


def _table(planned: Plan, past: Mapping[str, Past], skips: Mapping[str, str | None]) -> str:
    from tabulate import tabulate

    rows = [
        (
            case.id,
            case.quantization.method,
            _backend(case),
            " ".join(case.tiers),
            len(case.tolerances),
            _evaluated(case, past.get(case.id)),
            _calibration(case),
            "skipped" if skips[case.id] else _time(past, case),
        )
        for case in planned.cases
    ]
    headers = ("case", "method", "backend", "tiers", "bounds", "evaluated", "calibration", "time")
    lines = [tabulate(rows, headers=headers, disable_numparse=True)] if rows else []
    if told := certificate_lines(planned.cases, lambda case: _samples(case, past.get(case.id))):
        lines += ["", *told]
    if told := rule_lines(planned.cases):
        lines += ["", *told]
    if skipped := [f"  {name}: {reason}" for name, reason in skips.items() if reason]:
        lines += ["", "skipped here:", *skipped]
    if planned.not_applicable:
        lines += ["", "not applicable:"]
        lines += [f"  {other.id}: {other.reason}" for other in planned.not_applicable]
    lines += ["", f"{count(len(planned.cases), 'case')}, {_together(planned, past, skips)}"]
    return "\n".join(lines) + "\n"


def rule_lines(cases: Sequence[Case]) -> list[str]:
    """What the table has no column for: probes, and which machines share a baseline."""
    told: dict[str, list[str]] = {}
    for case in cases:
        if case.probes:
            names = ", ".join(probe.name for probe in case.probes)
            told.setdefault(f"probes: {names}", []).append(case.id)
    lines = [f"{text} ({', '.join(ids)})" for text, ids in told.items()]
    for spec, case in {case.spec_id: case for case in cases}.items():
        rule = case.comparability
        parts = [
            f"{word} {', '.join(facts)}"
            for word, facts in (("also by", rule.narrow), ("not by", rule.widen))
            if facts
        ]
        if parts:
            lines.append(f"environment of {spec}: baselines told apart {'; '.join(parts)}")
        if case.stand_in is not None:
            lines.append(f"model of {spec}: {case.stand_in.note}")
        if case.on_improvement == "note":
            lines.append(f"on_improvement of {spec}: better than the baseline is only noted")
    return lines


def _json(planned: Plan, past: Mapping[str, Past], skips: Mapping[str, str | None]) -> str:
    def sample(spec: SampleSpec | None) -> dict[str, Any] | None:
        if spec is None:
            return None
        return {"source": spec.source, "samples": spec.samples, "skip": spec.skip}

    document = {
        "cases": [
            {
                "id": case.id,
                "spec": case.spec_path,
                "quantization": case.quantization.name,
                "method": case.quantization.method,
                "target": case.target.name,
                "backend": case.target.backend,
                "engine": case.target.options.get("engine"),
                "tiers": list(case.tiers),
                "tolerances": [
                    {
                        "tier": tolerance.tier,
                        "metric": tolerance.metric,
                        "subjects": tolerance.subjects,
                        "bound": tolerance.text,
                    }
                    for tolerance in case.tolerances
                ],
                "certificates": [
                    to_plain(entry)
                    for entry in certificates(case, _samples(case, past.get(case.id)))
                ],
                "evaluation": sample(case.data.evaluation),
                "calibration": sample(case.data.calibration),
                "probes": [
                    {"name": probe.name, "bounds": {b.metric: b.text for b in probe.bounds}}
                    for probe in case.probes
                ],
                "environment": {
                    "narrow": list(case.comparability.narrow),
                    "widen": list(case.comparability.widen),
                },
                "on_improvement": case.on_improvement,
                "stand_in": None if case.stand_in is None else to_plain(case.stand_in),
                "dropped": list(case.dropped),
                "expected_failure": case.expected_failure,
                "skipped": skips[case.id],
                "seconds": _seconds(past, case),
                "estimated_seconds": round(estimate(case), 1),
            }
            for case in planned.cases
        ],
        "not_applicable": [
            {"id": other.id, "reason": other.reason} for other in planned.not_applicable
        ],
        "digest": plan_digest(planned),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
