"""``gate report``: write the page to look at of a stored run, whatever its verdict."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import add_baselines, baselines_of
from gate.cli.judge import InputError, folder_of, not_applicable_of, read_results
from gate.core.status import ExitCode
from gate.report.emit import html_file
from gate.report.html_report.sources import page as html_page
from gate.report.verdicts import judged_all
from gate.run.store import StoredRunError
from gate.spec.project import project_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="folder of a run, or single result files of one (default: the latest run)",
    )
    parser.add_argument(
        "--html",
        type=html_file,
        default="report.html",
        metavar="FILE",
        help="where to write the page (default: report.html)",
    )
    add_baselines(parser)
    parser.add_argument("--open", action="store_true", help="show the page in a browser")


def run(args: argparse.Namespace) -> int:
    """Write the page; 0 where that worked, since the verdict is the business of ``gate judge``."""
    root = project_root()
    runs = args.runs or [root / ".gate" / "runs" / "latest"]
    try:
        results = read_results(runs)
        baselines = baselines_of(args)
        verdicts = judged_all(results, baselines)
        text = html_page(
            verdicts,
            results,
            not_applicable=not_applicable_of(runs),
            baselines=baselines,
            runs=[folder_of(path) for path in runs],
        )
    except (InputError, StoredRunError, BaselineError) as error:
        sys.stderr.write(f"gate report: {error}\n")
        return ExitCode.INFRASTRUCTURE
    args.html.parent.mkdir(parents=True, exist_ok=True)
    args.html.write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{args.html}\n")
    if args.open:
        webbrowser.open(args.html.absolute().as_uri())
    return ExitCode.PASS
