"""``gate judge``: judge stored results again, without running anything."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import add_baselines, baselines_of
from gate.cli.garbage import uncollected
from gate.core.case import Case, NotApplicable
from gate.core.convert import MalformedRecordError, to_plain
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.report.emit import add_arguments as add_report_arguments
from gate.report.emit import emit
from gate.report.verdicts import judged_all
from gate.run.job import read_record
from gate.run.shards import portable
from gate.run.store import RUN_FILE, StoredRunError, read_not_applicable, read_run
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import plan


class InputError(Exception):
    """Files that cannot be judged; the message is for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "observations",
        nargs="+",
        type=Path,
        metavar="OBSERVATIONS",
        help="folder of a run (.gate/runs/latest) or single result files of one",
    )
    parser.add_argument(
        "--spec",
        action="append",
        default=[],
        metavar="PATH",
        help="judge by the tolerances that this spec (or folder) has now, instead of those of the run",
    )
    add_baselines(parser)
    add_report_arguments(parser)


@uncollected()
def run(args: argparse.Namespace) -> int:
    """Judge, report, and return the exit code that the run would have had."""
    try:
        results = read_results(args.observations)
        if args.spec:
            results = _with_specs(results, args.spec)
        baselines = baselines_of(args)
        verdicts = judged_all(results, baselines)
        others = not_applicable_of(args.observations)
    except SpecError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    except (InputError, StoredRunError, BaselineError) as error:
        sys.stderr.write(f"gate judge: {error}\n")
        return ExitCode.INFRASTRUCTURE
    runs = [folder_of(path) for path in args.observations]
    return emit(verdicts, results, args, not_applicable=others, baselines=baselines, runs=runs)


def read_results(paths: Sequence[Path]) -> list[CaseResult]:
    """Results of every path, in order; two results of one case are an error."""
    origin: dict[str, Path] = {}
    results: list[CaseResult] = []
    for path in dict.fromkeys(paths):
        for result in _read(path):
            known = origin.setdefault(result.case.id, path)
            if known != path:
                raise InputError(f"{path}: holds {result.case.id}, which {known} holds already")
            results.append(result)
    return results


def not_applicable_of(paths: Sequence[Path]) -> tuple[NotApplicable, ...]:
    """Pairs that were no cases of the runs that were named whole; single results have none."""
    folders = [folder_of(path) for path in paths if path.is_dir() or path.name == RUN_FILE]
    found = (pair for folder in dict.fromkeys(folders) for pair in read_not_applicable(folder))
    return tuple({pair.id: pair for pair in found}.values())


def folder_of(path: Path) -> Path:
    """The run that an argument belongs to: a folder, its record or one of its result files."""
    if path.is_dir():
        return path
    return path.parent if path.name == RUN_FILE else path.parent.parent


def _read(path: Path) -> list[CaseResult]:
    if path.is_dir():
        return read_run(path)
    if path.name == RUN_FILE:
        return read_run(path.parent)
    try:
        return [read_record(path, CaseResult)]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder") from None
    except (OSError, MalformedRecordError) as error:
        raise InputError(f"{path}: is no result of 'gate run': {error}") from error


def _with_specs(results: Sequence[CaseResult], paths: Sequence[str]) -> list[CaseResult]:
    """The same facts beside the cases as the specs describe them now."""
    now = {case.id: case for case in plan(load_specs(paths, both=True)).cases}
    return [replace(result, case=_rejudged(result.case, now)) for result in results]


def _rejudged(stored: Case, now: Mapping[str, Case]) -> Case:
    """The case of today's specs; what was run must still be what they describe."""
    case = now.get(stored.id)
    if case is None:
        raise InputError(f"{stored.id}: the specs given have no such case")
    changed = [
        name
        for name in ("model", "data", "quantization", "target")
        if portable(to_plain(getattr(case, name))) != portable(to_plain(getattr(stored, name)))
    ]
    if changed:
        raise InputError(
            f"{stored.id}: {', '.join(changed)} changed in the spec since the run, so its results"
            " say nothing about it; run it again"
        )
    # Which of the two ran is a fact of the run.
    return replace(case, stand_in=stored.stand_in)
