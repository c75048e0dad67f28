"""``gate drill``: plant faults into the candidates of specs, and see which of them the specs notice."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import (
    add_baselines,
    add_jobs,
    add_paths,
    add_select,
    baselines_of,
    positive,
)
from gate.core.case import Plan
from gate.core.status import ExitCode
from gate.drill.base import Fault
from gate.drill.cases import FaultSelectError, drillable, select_faults
from gate.drill.engine import Drill, DrillSettings, in_order, run_faults, run_healthy
from gate.drill.healthy import HealthyRepeats, come_to, run_repeats
from gate.drill.outcome import score
from gate.report import stdout
from gate.report.style import style_of
from gate.run.progress import display
from gate.run.settings import InfrastructureError, default_cache_dir
from gate.run.store import create_run
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root

REQUIRED_PERCENT = 95.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_paths(parser)
    add_select(parser)
    add_drill_arguments(parser)
    parser.add_argument(
        "--healthy",
        type=positive,
        metavar="N",
        help="plant nothing: run every case N times under other seeds, sample orders, batches and "
        "threads, and count false alarms",
    )
    parser.add_argument(
        "--require",
        type=_percent,
        default=REQUIRED_PERCENT,
        metavar="PERCENT",
        help="exit 1 where fewer faults are caught (default: 95)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write Markdown")


def add_drill_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that drills and the advice on tolerances share."""
    parser.add_argument(
        "--faults",
        action="append",
        default=[],
        metavar="GLOB",
        help="only faults whose name or family matches (several: any of them)",
    )
    parser.add_argument(
        "--samples",
        type=positive,
        metavar="N",
        help="evaluate on the first N samples only; baselines are then taken from the healthy run",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of all that is left to chance (default: 0)",
    )
    add_jobs(parser)
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor keep cached artifacts"
    )
    add_baselines(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Drill, report, and return the exit code."""
    try:
        faults = select_faults(args.faults)
        planned = drillable(plan(load_specs(args.paths), args.select), samples=args.samples)
    except (SpecError, SelectError, FaultSelectError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    try:
        if args.healthy is not None:
            return _healthy(planned, args)
        return _drill(planned, faults, args)
    except (InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate drill: {error}\n")
        return ExitCode.INFRASTRUCTURE


def drill_of(planned: Plan, faults: tuple[Fault, ...], args: argparse.Namespace) -> Drill:
    """Run a drill with the settings of the command line, showing progress.

    Raises:
        InfrastructureError, BaselineError: folders that cannot be read or written.
    """
    started = time.monotonic()
    settings = settings_of(args)
    with display(quiet=args.quiet) as show:
        healthy, sick, interrupted = run_healthy(
            planned.cases, faults, settings=settings, baselines=baselines_of(args), on_event=show
        )
        outcomes = []
        if not interrupted:
            outcomes = list(run_faults(healthy, faults, settings=settings, on_event=show))
    found = Drill(
        seed=args.seed,
        healthy=tuple(healthy),
        sick=tuple(sick),
        outcomes=in_order(outcomes, healthy, faults),
        not_applicable=planned.not_applicable,
        seconds=time.monotonic() - started,
    )
    return replace(found, interrupted=interrupted or score(outcomes).interrupted > 0)


def repeats_of(planned: Plan, count: int, args: argparse.Namespace) -> HealthyRepeats:
    """Run every case once as it is and ``count`` times varied.

    Raises:
        InfrastructureError, BaselineError: folders that cannot be read or written.
    """
    started = time.monotonic()
    settings = settings_of(args)
    with display(quiet=args.quiet) as show:
        healthy, sick, interrupted = run_healthy(
            planned.cases, (), settings=settings, baselines=baselines_of(args), on_event=show
        )
        repeats = []
        if not interrupted:
            repeats = list(run_repeats(healthy, count, settings=settings, on_event=show))
    found = come_to(repeats, healthy, seed=args.seed)
    return replace(
        found,
        failures=(*sick, *found.failures),
        interrupted=interrupted or found.interrupted,
        seconds=time.monotonic() - started,
    )


def settings_of(args: argparse.Namespace) -> DrillSettings:
    """Settings of a drill; makes its folder below ``.gate/drills``."""
    root = project_root()
    return DrillSettings(
        run_dir=create_run(root / ".gate" / "drills"),
        cache_dir=None if args.no_cache else default_cache_dir(root),
        jobs=args.jobs,
        seed=args.seed,
    )


def _drill(planned: Plan, faults: tuple[Fault, ...], args: argparse.Namespace) -> int:
    drill = drill_of(planned, faults, args)
    from gate.drill import documents, report

    if args.json:
        text = documents.as_json(drill, require=args.require)
    else:
        text = report.render(drill, require=args.require, style=style_of(sys.stdout))
    if args.markdown is not None:
        page = documents.as_markdown(drill, require=args.require)
        args.markdown.write_text(page, encoding="utf-8", newline="\n")
    written = stdout.write(text)
    if drill.interrupted:
        return ExitCode.INTERRUPTED
    code = exit_code(drill, require=args.require)
    return code if written else max(code, ExitCode.INFRASTRUCTURE)


def exit_code(drill: Drill, *, require: float) -> int:
    """0 where enough was caught; 1 where not; 3 where that cannot be told.

    A case that does not pass without a fault, and a fault that could not be planted properly, leave
    the score without a meaning.
    """
    total = score(drill.outcomes)
    if drill.sick or total.broken or total.percent is None:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.PASS if total.percent >= require else ExitCode.FAIL


def _healthy(planned: Plan, args: argparse.Namespace) -> int:
    found = repeats_of(planned, args.healthy, args)
    from gate.drill import documents, report

    drill = Drill(seed=args.seed, not_applicable=planned.not_applicable, seconds=found.seconds)
    if args.json:
        text = documents.as_json(drill, require=args.require, repeats=found)
    else:
        text = report.render_healthy(found, style=style_of(sys.stdout))
    if args.markdown is not None:
        page = documents.as_markdown(drill, require=args.require, repeats=found)
        args.markdown.write_text(page, encoding="utf-8", newline="\n")
    stdout.write(text)
    if found.interrupted:
        return ExitCode.INTERRUPTED
    if found.alarms:
        return ExitCode.FAIL
    return ExitCode.INFRASTRUCTURE if found.failures or not found.runs else ExitCode.PASS


def _percent(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 100.0:
        raise argparse.ArgumentTypeError(f"expected a percentage from 0 to 100, found '{text}'")
    return number
