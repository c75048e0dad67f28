"""All outputs of a finished run or judging, in one place: `gate run` and `gate judge` write the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gate.core.case import NotApplicable
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.core.verdict import Verdict
from gate.judge.summary import summarize
from gate.report import stdout
from gate.report.style import style_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the outputs, and those that decide the exit code."""
    group = parser.add_argument_group("reports")
    group.add_argument(
        "--json", action="store_true", help="print the JSON report in place of the table"
    )
    group.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML")
    group.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write Markdown (at most 1 MiB)"
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="show every check of every case"
    )
    policy = parser.add_argument_group("exit code")
    policy.add_argument("--require", action="store_true", help="a skipped case counts as failed")
    policy.add_argument(
        "--allow-inconclusive", action="store_true", help="an inconclusive case counts as passed"
    )


def emit(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    options: argparse.Namespace,
    *,
    not_applicable: Sequence[NotApplicable] = (),
) -> int:
    """Write every output that ``options`` ask for and return the exit code.

    The verdicts are in the order of the plan, each with its result. A report that cannot be written
    makes the exit code at least that of an infrastructure error: a gate whose report nobody got has
    not reported a pass.
    """
    summary = summarize(
        verdicts,
        require=options.require,
        allow_inconclusive=options.allow_inconclusive,
    )
    if options.json:
        from gate.report import json_report

        text = json_report.render(
            verdicts, results, not_applicable=not_applicable, exit_code=summary.exit_code
        )
    else:
        from gate.report import table

        text = table.render(
            verdicts,
            results,
            not_applicable=not_applicable,
            style=style_of(sys.stdout),
            verbose=options.verbose,
        )
    written = True
    if options.junit is not None:
        from gate.report import junit

        written &= _write(options.junit, junit.render(verdicts, results, require=options.require))
    if options.markdown is not None:
        from gate.report import markdown

        page = markdown.render(verdicts, results, not_applicable=not_applicable)
        written &= _write(options.markdown, page)
    # The files first: a terminal that goes away must not take them along.
    written &= stdout.write(text)
    if summary.because:
        sys.stderr.write(f"gate: {summary.because}\n")
    return summary.exit_code if written else max(summary.exit_code, ExitCode.INFRASTRUCTURE)


def _write(path: Path, text: str) -> bool:
    """Write a report; False, with a message, where that is impossible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        sys.stderr.write(f"gate: cannot write the report {path}: {error.strerror or error}\n")
        return False
    return True
