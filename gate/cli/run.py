"""``gate run``: run the cases of specs, judge them, report, and decide."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.make import provenance_of
from gate.baseline.store import BaselineStore
from gate.baseline.update import prepare
from gate.cli.arguments import add_jobs, add_paths, add_select
from gate.core.baseline import BaselineMissing
from gate.core.case import Case, NotApplicable, Plan
from gate.core.result import CaseResult
from gate.core.status import ExitCode, Status, Tier
from gate.core.verdict import Verdict
from gate.report.emit import add_arguments as add_report_arguments
from gate.report.emit import emit
from gate.report.verdicts import judged_all
from gate.run.engine import run_plan
from gate.run.progress import display
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir
from gate.run.store import create_run, use_run
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_paths(parser)
    add_select(parser)
    parser.add_argument(
        "--tier",
        action="append",
        default=[],
        choices=[tier.value for tier in Tier],
        metavar="TIER",
        help="run and judge only this tier: numerical, layers or device (several: these)",
    )
    add_jobs(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor keep cached artifacts"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: one in .gate/runs)"
    )
    parser.add_argument(
        "--baselines",
        type=Path,
        metavar="DIR",
        help="folder of baselines (default: baselines/ of the project)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run, judge, report, and return the exit code."""
    try:
        planned = plan(load_specs(args.paths), args.select)
        if args.tier:
            planned = only_tiers(planned, frozenset(map(Tier, args.tier)))
    except (SpecError, SelectError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    baselines = BaselineStore(args.baselines or project_root() / "baselines")
    try:
        results = _results(planned, args)
        verdicts = judged_all(results, baselines)
        recorded = [] if args.tier else _record(results, verdicts, baselines)
    except (InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate run: {error}\n")
        return ExitCode.INFRASTRUCTURE
    code = emit(verdicts, results, args, not_applicable=planned.not_applicable)
    for line in recorded:
        sys.stderr.write(f"{line}\n")
    return code


def only_tiers(planned: Plan, tiers: frozenset[Tier]) -> Plan:
    """The part of a plan that demands something in ``tiers``; the rest is said to be left out."""
    cases: list[Case] = []
    left_out = list(planned.not_applicable)
    named = ", ".join(sorted(tiers))
    for case in planned.cases:
        kept = tuple(t for t in case.tolerances if t.tier in tiers)
        partial = replace(case, tolerances=kept)
        if not kept:
            left_out.append(NotApplicable(id=case.id, reason=f"demands nothing in: {named}"))
        elif case.expected_failure is None or _may_fail(partial):
            cases.append(partial)
        else:
            reason = f"is expected to fail, and the spec does not say that it does so in: {named}"
            left_out.append(NotApplicable(id=case.id, reason=reason))
    return Plan(cases=tuple(cases), not_applicable=tuple(left_out))


def _may_fail(case: Case) -> bool:
    """Whether a metric in which the case is expected to fail is still demanded."""
    demanded = {t.metric for t in case.tolerances}
    demanded |= {f"{t.tier}.{t.metric}" for t in case.tolerances}
    return bool(demanded.intersection(case.expected_metrics))


def _results(planned: Plan, args: argparse.Namespace) -> list[CaseResult]:
    """Results in the order of the plan."""
    root = project_root()
    settings = RunSettings(
        run_dir=use_run(args.out) if args.out else create_run(root / ".gate" / "runs"),
        cache_dir=None if args.no_cache else default_cache_dir(root),
        jobs=args.jobs,
    )
    order = {case.id: index for index, case in enumerate(planned.cases)}
    with display(quiet=args.quiet or args.json) as show:
        results = list(run_plan(planned, settings=settings, on_event=show))
    return sorted(results, key=lambda result: order[result.case.id])


def _record(
    results: Sequence[CaseResult], verdicts: Sequence[Verdict], store: BaselineStore
) -> list[str]:
    """Write the first baselines of passing cases whose spec says ``baseline: record``."""
    new = [
        result
        for result, verdict in zip(results, verdicts, strict=True)
        if result.case.baseline_policy == "record"
        and result.observation is not None
        and verdict.status is Status.PASS
        and isinstance(
            store.lookup(result.case.id, result.observation.environment), BaselineMissing
        )
    ]
    if not new:
        return []
    provenance = provenance_of("recorded by the first run (baseline: record)", project_root())
    update = prepare(new, store, provenance)
    written = store.write_all([recording.baseline for recording in update.recordings])
    return [
        *(f"baseline recorded: {path}" for path in written),
        *(f"baseline of {name} not recorded: {reason}" for name, reason in update.refused),
    ]
