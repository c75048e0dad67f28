"""``gate run``: run the cases of specs, judge them, report, and decide."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.cli.arguments import (
    add_baselines,
    add_jobs,
    add_no_stand_ins,
    add_paths,
    add_select,
    baselines_of,
    shard,
)
from gate.cli.complain import complain
from gate.core.case import Case, NotApplicable, Plan
from gate.core.result import CaseResult
from gate.core.status import ExitCode, Tier
from gate.judge.wording import count
from gate.report.emit import add_arguments as add_report_arguments
from gate.report.emit import emit
from gate.run.artifacts import default_artifacts_dir
from gate.run.costs import COSTS_FILE, Costs, CostsError, read_costs
from gate.run.engine import run_plan
from gate.run.events import CaseStarted, Event
from gate.run.progress import display
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir
from gate.run.shards import Part, part_of
from gate.run.store import run_folder
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_paths(parser)
    add_select(parser)
    add_no_stand_ins(parser)
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
        "--shard",
        type=shard,
        metavar="I/N",
        help="run only part I of N, divided by expected cost; 'gate merge' puts the parts together",
    )
    parser.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help=f"seconds a case for --shard (default: {COSTS_FILE} of the project, else estimated)",
    )
    parser.add_argument(
        "--baseline-policy",
        choices=["require", "record", "ignore"],
        metavar="POLICY",
        help="require, record or ignore baselines, whatever the specs say",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor keep cached artifacts"
    )
    parser.add_argument(
        "--keep-candidates",
        type=Path,
        metavar="DIR",
        help="copy every candidate to DIR, for --candidates of another run",
    )
    parser.add_argument(
        "--candidates",
        type=Path,
        metavar="DIR",
        help="run the candidates of DIR instead of making them here",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: one in .gate/runs)"
    )
    add_baselines(parser)
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="keep no small pictures of inputs whose answer flipped (shown by --html)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run, judge, report, and return the exit code."""
    try:
        planned = plan(load_specs(args.paths, stand_ins=not args.no_stand_ins), args.select)
        if args.tier:
            planned = only_tiers(planned, frozenset(map(Tier, args.tier)))
        if args.baseline_policy is not None:
            planned = with_policy(planned, args.baseline_policy)
        part = _part(planned, args) if args.shard is not None else None
    except (SpecError, SelectError, CostsError) as error:
        complain(error)
        return ExitCode.USAGE
    baselines = baselines_of(args)
    try:
        root = project_root()
        run_dir = run_folder(args.out, root)
        results = _results(planned, part, args, baselines, run_dir)
        from gate.cli.run_end import conclude

        concluded = conclude(
            results,
            baselines,
            root=root,
            run_dir=run_dir,
            cache_dir=None if args.no_cache or args.candidates else default_cache_dir(root),
            whole=not args.tier,
        )
    except (InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate run: {error}\n")
        return ExitCode.INFRASTRUCTURE
    if part is not None and not part.cases:
        sys.stderr.write(f"shard {args.shard} of {count(len(planned.cases), 'case')} is empty\n")
        return ExitCode.PASS
    code = emit(
        concluded.verdicts,
        results,
        args,
        not_applicable=planned.not_applicable,
        baselines=baselines,
        runs=[run_dir],
    )
    for line in concluded.written:
        sys.stderr.write(f"{line}\n")
    return code


def _part(planned: Plan, args: argparse.Namespace) -> Part:
    default = project_root() / COSTS_FILE
    file = args.costs or (default if default.is_file() else None)
    return part_of(planned, args.shard, Costs() if file is None else read_costs(file))


def with_policy(planned: Plan, policy: str) -> Plan:
    """The same plan under another baseline policy."""
    return replace(
        planned, cases=tuple(replace(case, baseline_policy=policy) for case in planned.cases)
    )


def only_tiers(planned: Plan, tiers: frozenset[Tier]) -> Plan:
    """The part of a plan that demands something in ``tiers``; the rest is said to be left out."""
    cases: list[Case] = []
    left_out = list(planned.not_applicable)
    named = ", ".join(sorted(tiers))
    for case in planned.cases:
        kept = tuple(t for t in case.tolerances if t.tier in tiers)
        probes = case.probes if Tier.NUMERICAL in tiers else ()
        partial = replace(case, tolerances=kept, probes=probes)
        if not kept and not probes:
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
    demanded |= {probe.rule for probe in case.probes}
    return bool(demanded.intersection(case.expected_metrics))


def _results(
    planned: Plan,
    part: Part | None,
    args: argparse.Namespace,
    baselines: BaselineStore,
    run_dir: Path,
) -> list[CaseResult]:
    """Results in the order of the plan, of a shard's cases alone."""
    if part is not None:
        planned = replace(planned, cases=part.cases)
    root = project_root()
    settings = RunSettings(
        run_dir=run_dir,
        cache_dir=None if args.no_cache else default_cache_dir(root),
        jobs=args.jobs,
        pictures=not args.no_pictures,
        reference_memory=args.table or args.table_file is not None,
        baselines_dir=baselines.root.absolute(),
        artifacts_dir=default_artifacts_dir(root),
        keep_candidates=args.keep_candidates and args.keep_candidates.absolute(),
        given_candidates=args.candidates and args.candidates.absolute(),
        part=part,
    )
    order = {case.id: index for index, case in enumerate(planned.cases)}
    with display(quiet=args.quiet or args.json) as show:

        def seen(event: Event) -> None:
            show(event)
            if isinstance(event, CaseStarted):
                # Wanted at the end; imported while the worker does its own importing.
                importlib.import_module("gate.cli.run_end")

        results = list(run_plan(planned, settings=settings, on_event=seen))
    return sorted(results, key=lambda result: order[result.case.id])
