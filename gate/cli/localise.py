"""``gate localise``: name the layer, save it by itself, and find what must stay in float."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import add_baselines, add_paths, add_select, baselines_of
from gate.cli.complain import complain
from gate.cli.run import only_tiers
from gate.core.case import Plan
from gate.core.result import CaseResult
from gate.core.status import ExitCode, Tier
from gate.core.verdict import Verdict
from gate.judge.wording import names
from gate.report import stdout
from gate.report.localised import as_json, as_text
from gate.report.verdicts import judged_all
from gate.run.engine import run_plan
from gate.run.localise import Localised, LocaliseError, LocaliseJob, localise
from gate.run.progress import display
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir
from gate.run.store import create_run, repro_path
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.spec.units import SECONDS, UnitError, factor

DEFAULT_BUDGET = 120.0
_TIERS = frozenset({Tier.NUMERICAL, Tier.LAYERS})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_paths(parser)
    add_select(parser)
    parser.add_argument(
        "--budget",
        type=_seconds,
        default=DEFAULT_BUDGET,
        metavar="TIME",
        help="time a case for ranking layers and finding a set that passes, as 120s or 5 min; 0 for"
        " neither (default: 120s)",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="the layer to save (default: the first bad one)"
    )
    parser.add_argument(
        "--save", type=Path, metavar="DIR", help="folder for the layer, to run by itself"
    )
    add_baselines(parser)
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Localise in every selected case; 1 where a case has no set of layers with which it passes."""
    try:
        planned = only_tiers(plan(load_specs(args.paths), args.select), _TIERS)
    except (SpecError, SelectError) as error:
        complain(error)
        return ExitCode.USAGE
    if not planned.cases:
        sys.stderr.write("gate localise: no case demands anything of outputs or layers\n")
        return ExitCode.USAGE
    try:
        results, verdicts, run_dir = _judged(planned, args)
    except (InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate localise: {error}\n")
        return ExitCode.INFRASTRUCTURE
    codes = []
    told = []
    for result, verdict in zip(results, verdicts, strict=True):
        code, answer = _one(result, verdict, run_dir, args, several=len(results) > 1)
        codes.append(code)
        told.append((result, verdict, answer))
    if args.json:
        stdout.write(json.dumps([as_json(*each) for each in told], indent=2) + "\n")
    else:
        stdout.write("\n".join(as_text(*each) for each in told))
    return max(codes)


def _judged(
    planned: Plan, args: argparse.Namespace
) -> tuple[list[CaseResult], Sequence[Verdict], Path]:
    root = project_root()
    run_dir = create_run(root / ".gate" / "runs")
    settings = RunSettings(run_dir=run_dir, cache_dir=default_cache_dir(root))
    with display(quiet=args.quiet or args.json) as show:
        results = list(run_plan(planned, settings=settings, on_event=show))
    baselines = baselines_of(args)
    return results, judged_all(results, baselines), run_dir


def _one(
    result: CaseResult,
    verdict: Verdict,
    run_dir: Path,
    args: argparse.Namespace,
    *,
    several: bool,
) -> tuple[int, Localised | str]:
    """Exit code, and what was found or why nothing was."""
    if result.observation is None:
        return ExitCode.INFRASTRUCTURE, "the case did not run: see its verdict"
    layer = args.layer or verdict.first_bad_layer
    layers = result.observation.layers
    if layers is None:
        return ExitCode.USAGE, (
            "the spec demands nothing of its layers, so none was looked at; a tolerance of the tier layers, "
            "such as isolated_sqnr, changes that"
        )
    known = [match.candidate for match in layers.matches]
    if args.layer is not None and args.layer not in known:
        return ExitCode.USAGE, f"there is no layer '{args.layer}': there are {names(known)}"
    folder = args.save or repro_path(run_dir, result.case.id)
    if args.save is not None and several:
        folder = repro_path(args.save, result.case.id)
    job = LocaliseJob(
        case=result.case,
        cache_dir=default_cache_dir(project_root()),
        layer=layer,
        save=folder.absolute() if layer is not None else None,
        budget_seconds=args.budget,
    )
    try:
        answer = localise(job, say=None if args.quiet or args.json else _progress(result.case.id))
    except LocaliseError as error:
        return ExitCode.INFRASTRUCTURE, str(error)
    ranked = answer.sensitivity
    unsolved = ranked is not None and not ranked.found.start.passes and not ranked.verified
    return (ExitCode.FAIL if unsolved else ExitCode.PASS), answer


def _progress(case_id: str) -> Callable[[str], None]:
    def say(text: str) -> None:
        sys.stderr.write(f"{case_id}: {text}\n")

    return say


def _seconds(text: str) -> float:
    """A time with its unit; 0 needs none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if found is None:
        message = f"expected a time such as 120s or 5 min, found '{text}'"
        raise argparse.ArgumentTypeError(message)
    number = float(found[1])
    try:
        return number if number == 0.0 else number * factor(found[2], SECONDS, "the budget")
    except UnitError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
