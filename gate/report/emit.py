"""All outputs of a finished run or judging, in one place: `gate run` and `gate judge` write the same."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gate.baseline.store import BaselineStore
from gate.core.case import NotApplicable
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.core.verdict import Verdict
from gate.judge.summary import summarize
from gate.report import github, stdout
from gate.report.style import style_of
from gate.run.parallel import mapped


def html_file(text: str) -> Path:
    """Argument type of ``--html``: a run that takes an hour must not find out at its end."""
    if find_spec("jinja2") is None:
        raise argparse.ArgumentTypeError(
            "the HTML report needs Jinja2: pip install 'quantgate[html]'"
        )
    return Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the outputs, and those that decide the exit code."""
    group = parser.add_argument_group("reports")
    group.add_argument(
        "--json", action="store_true", help="print the JSON report in place of the table"
    )
    group.add_argument(
        "--table",
        action="store_true",
        help="print the float model and each mode beside it (accuracy, drop, latency, speed-up, size, "
        "ratio, memory) in place of the tiers",
    )
    group.add_argument(
        "--table-file", type=Path, metavar="FILE", help="also write that table, as Markdown"
    )
    group.add_argument("--json-file", type=Path, metavar="FILE", help="also write the JSON report")
    group.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML")
    group.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write Markdown (at most 1 MiB)"
    )
    group.add_argument(
        "--html", type=html_file, metavar="FILE", help="also write a page to look at (at most 3 MB)"
    )
    group.add_argument(
        "--sarif", type=Path, metavar="FILE", help="also write SARIF 2.1.0 for code scanning"
    )
    group.add_argument(
        "--badge", type=Path, metavar="FILE", help="also write a badge (shields.io endpoint JSON)"
    )
    group.add_argument(
        "--summary",
        type=Path,
        metavar="FILE",
        help="also append Markdown to a job summary (default: $GITHUB_STEP_SUMMARY where set)",
    )
    group.add_argument("--no-summary", action="store_true", help="write no job summary by default")
    group.add_argument(
        "--annotations",
        action=argparse.BooleanOptionalAction,
        help="mark findings at their lines in GitHub Actions (default: where GITHUB_ACTIONS is true)",
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="show every check of every case"
    )
    policy = parser.add_argument_group("exit code")
    policy.add_argument(
        "--require",
        action="store_true",
        help="a case that is skipped or not comparable counts as failed",
    )
    policy.add_argument(
        "--allow-inconclusive", action="store_true", help="an inconclusive case counts as passed"
    )


def emit(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    options: argparse.Namespace,
    *,
    not_applicable: Sequence[NotApplicable] = (),
    baselines: BaselineStore | None = None,
    runs: Sequence[Path] = (),
) -> int:
    """Write every output that ``options`` ask for and return the exit code.

    The verdicts are in the order of the plan, each with its result; ``baselines`` is where they were
    looked up and ``runs`` are the folders that the results came from, for what reports show of them.
    A report that cannot be written makes the exit code at least that of an infrastructure error: a
    gate whose report nobody got has not reported a pass.
    """
    summary = summarize(
        verdicts,
        require=options.require,
        allow_inconclusive=options.allow_inconclusive,
    )

    def document() -> str:
        from gate.report import json_report

        return json_report.render(
            verdicts, results, not_applicable=not_applicable, exit_code=summary.exit_code
        )

    def junit_xml() -> str:
        from gate.report import junit

        return junit.render(
            verdicts,
            results,
            require=options.require,
            allow_inconclusive=options.allow_inconclusive,
        )

    def markdown_page() -> str:
        from gate.report import markdown

        return markdown.render(verdicts, results, not_applicable=not_applicable)

    def mode_tables() -> str:
        from gate.report import mode_table

        return mode_table.markdown(verdicts, results)

    def html_page() -> str:
        from gate.report.html_report import sources

        return sources.page(
            verdicts, results, not_applicable=not_applicable, baselines=baselines, runs=runs
        )

    def sarif_log() -> str:
        from gate.report import sarif

        return sarif.render(verdicts, results)

    def badge_file() -> str:
        from gate.report import badge

        return badge.render(verdicts)

    files: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (options.json_file, document),
        (options.junit, junit_xml),
        (options.markdown, markdown_page),
        (options.table_file, mode_tables),
        (options.html, html_page),
        (options.sarif, sarif_log),
        (options.badge, badge_file),
    )
    table = partial(_table, verdicts, results, options, not_applicable)
    jobs: list[Callable[[], str | bool]] = [document if options.json else table]
    jobs += [partial(_write, path, render) for path, render in files if path is not None]
    text, *written = mapped(lambda job: job(), jobs, worth=len(verdicts))
    text = str(text)
    written.append(_append_summary(verdicts, results, options, not_applicable))
    annotations = ""
    if github.wanted() if options.annotations is None else options.annotations:
        annotations = github.render(verdicts, results)
        text = text if options.json else github.quiet(text)
    # The files first: a terminal that goes away must not take them along.
    written.append(stdout.write(text))
    # GitHub reads commands from either stream; this one holds no report.
    sys.stderr.write(annotations)
    if summary.because:
        sys.stderr.write(f"gate: {summary.because}\n")
    return summary.exit_code if all(written) else max(summary.exit_code, ExitCode.INFRASTRUCTURE)


def _table(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    options: argparse.Namespace,
    not_applicable: Sequence[NotApplicable],
) -> str:
    from gate.report import mode_table, table

    style = style_of(sys.stdout)
    return table.render(
        verdicts,
        results,
        not_applicable=not_applicable,
        style=style,
        verbose=options.verbose,
        head=mode_table.render(verdicts, results, style=style) if options.table else None,
    )


def _append_summary(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    options: argparse.Namespace,
    not_applicable: Sequence[NotApplicable],
) -> bool:
    """Append to the job summary, if any; one that nobody asked for decides nothing."""
    from gate.report import summary

    named: Path | None = options.summary
    default = None if options.no_summary else os.environ.get(summary.VARIABLE)
    path = named or (Path(default) if default else None)
    if path is None:
        return True
    try:
        summary.append(path, verdicts, results, not_applicable=not_applicable)
    except OSError as error:
        reason = error.strerror or error
        sys.stderr.write(f"gate: cannot write the job summary {path}: {reason}\n")
        return named is None
    return True


def _write(path: Path, render: Callable[[], str]) -> bool:
    """Write a report; False, with a message, where that is impossible."""
    text = render()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        sys.stderr.write(f"gate: cannot write the report {path}: {error.strerror or error}\n")
        return False
    return True
