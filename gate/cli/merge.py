"""``gate merge``: put the runs of shards together, judge them, report, and decide."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import add_baselines, baselines_of
from gate.cli.choices import write_choices
from gate.cli.garbage import uncollected
from gate.core.status import ExitCode
from gate.report.emit import add_arguments as add_report_arguments
from gate.report.emit import emit
from gate.report.verdicts import judged_for_reports, known
from gate.run.costs import write_costs
from gate.run.merge import MergeError, check_apart, find_runs, merge
from gate.run.settings import InfrastructureError
from gate.run.store import StoredRunError, run_folder
from gate.spec.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="run folder of a shard, or a folder of such folders",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the merged run (default: in .gate/runs)"
    )
    add_baselines(parser)
    parser.add_argument(
        "--plan-digest",
        metavar="DIGEST",
        help="the plan that must have been run, as 'gate plan --json' names it",
    )
    parser.add_argument(
        "--write-costs",
        type=Path,
        metavar="FILE",
        help="keep how long each case took, for later partitions (gate run --costs)",
    )
    add_report_arguments(parser)


@uncollected()
def run(args: argparse.Namespace) -> int:
    """Merge, judge, report, and return the exit code that one run of all would have had."""
    try:
        folders = find_runs(args.runs)
        if args.out is not None:
            check_apart(args.out, folders)
        out = run_folder(args.out, project_root())
        baselines = baselines_of(args)
        whole = bool(args.html or args.table or args.table_file)
        merged = merge(
            folders,
            out,
            lambda result: judged_for_reports(result, baselines, whole=whole),
            expected_digest=args.plan_digest,
        )
        results, verdicts = known(merged.found)
    except (MergeError, StoredRunError, InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate merge: {error}\n")
        return ExitCode.INFRASTRUCTURE
    if args.write_costs is not None:
        write_costs(args.write_costs, results)
    code = emit(
        verdicts,
        results,
        args,
        not_applicable=merged.plan.not_applicable,
        baselines=baselines,
        runs=[out],
    )
    for line in write_choices(results, out):
        sys.stderr.write(f"{line}\n")
    for problem in merged.problems:
        sys.stderr.write(f"gate merge: {problem}\n")
    return code
