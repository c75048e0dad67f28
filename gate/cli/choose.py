"""``gate choose``: what ladders and searches come to, as a diff of the spec."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gate.cli.arguments import add_jobs, add_select
from gate.cli.choices import write_choices
from gate.cli.complain import complain
from gate.cli.run import with_policy
from gate.core.case import Plan
from gate.core.choice import Choice
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.drill.edit import unified_diff
from gate.report import stdout
from gate.report.choice import as_text, entry, explained, fragment
from gate.run.engine import run_plan
from gate.run.progress import display
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir
from gate.run.store import create_run
from gate.spec.choosing import chooses
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.spec.rewrite import RewriteError, extended_place, with_quantization


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("spec", metavar="SPEC", help="one spec file")
    add_select(parser)
    add_jobs(parser)
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the recipes into the spec, in place of the methods that choose",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Choose, show what was tried, and print the diff (or write it)."""
    file = Path(args.spec)
    try:
        if file.is_dir():
            sys.stderr.write(f"{file}: is a folder; recipes are chosen one spec at a time\n")
            return ExitCode.USAGE
        planned = with_policy(_choosing(plan(load_specs([args.spec]), args.select)), "ignore")
    except (SpecError, SelectError) as error:
        complain(error)
        return ExitCode.USAGE
    if not planned.cases:
        sys.stderr.write(f"{file}: no quantization has a method that chooses (ladder, search)\n")
        return ExitCode.USAGE
    try:
        results, run_dir = _run(planned, args)
    except InfrastructureError as error:
        sys.stderr.write(f"gate choose: {error}\n")
        return ExitCode.INFRASTRUCTURE
    for line in write_choices(results, run_dir):
        sys.stderr.write(f"{line}\n")
    return _told(file, results, write=args.write)


def _choosing(planned: Plan) -> Plan:
    cases = tuple(case for case in planned.cases if chooses(case.quantization.method))
    return Plan(cases=cases, not_applicable=planned.not_applicable)


def _run(planned: Plan, args: argparse.Namespace) -> tuple[list[CaseResult], Path]:
    root = project_root()
    run_dir = create_run(root / ".gate" / "runs")
    settings = RunSettings(run_dir=run_dir, cache_dir=default_cache_dir(root), jobs=args.jobs)
    order = {case.id: index for index, case in enumerate(planned.cases)}
    with display(quiet=args.quiet) as show:
        results = list(run_plan(planned, settings=settings, on_event=show))
    return sorted(results, key=lambda result: order[result.case.id]), run_dir


def _told(file: Path, results: Sequence[CaseResult], *, write: bool) -> int:
    """The tables on the standard error stream: the standard output is a patch and nothing else."""
    found: dict[str, list[tuple[CaseResult, Choice]]] = {}
    code = ExitCode.PASS
    for result in results:
        choice = result.observation.choice if result.observation is not None else None
        if choice is None:
            why = result.failure.message if result.failure is not None else result.skipped
            sys.stderr.write(f"{result.case.id}: nothing was chosen: {why}\n")
            code = ExitCode.FAIL
            continue
        sys.stderr.write(as_text(result.case, choice) + "\n")
        found.setdefault(result.case.quantization.name, []).append((result, choice))
        code = code if choice.met else ExitCode.FAIL
    with file.open(encoding="utf-8", newline="") as stream:
        before = after = stream.read()
    for name, chosen in found.items():
        try:
            after = _edited(after, file, name, chosen)
        except RewriteError as error:
            sys.stderr.write(f"quantizations.{name} is not edited: {error}\n")
            code = max(code, ExitCode.FAIL)
    diff = unified_diff(file, before, after)
    if write and diff:
        with file.open("w", encoding="utf-8", newline="") as stream:
            stream.write(after)
    return code if stdout.write(diff) else ExitCode.INFRASTRUCTURE


def _edited(text: str, file: Path, name: str, chosen: Sequence[tuple[CaseResult, Choice]]) -> str:
    recipes = [entry(result.case, choice) for result, choice in chosen]
    if any(recipe != recipes[0] for recipe in recipes):
        targets = ", ".join(result.case.target.name for result, _ in chosen)
        raise RewriteError(
            f"the targets {targets} came to different recipes; give each a quantization of its own"
        )
    if unmet := [result.case.id for result, choice in chosen if not choice.met]:
        raise RewriteError(f"nothing holds what is demanded of {unmet[0]}")
    case, choice = chosen[0][0].case, chosen[0][1]
    if (place := extended_place(file, file.as_posix(), name)) is not None:
        raise RewriteError(
            f"it stands in {place.file}:{place.line}, which this spec extends and others may; take it"
            f" out there, and put this into {file.as_posix()}:\n{fragment(case, choice)}"
        )
    comment = explained(case, choice)
    return with_quantization(text, file.as_posix(), name, recipes[0], comment)
