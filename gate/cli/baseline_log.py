"""``gate baseline log``: a metric of a case over the commits of the repository."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.log import Accepted, Point, history, metrics, series
from gate.baseline.store import BaselineStore
from gate.core.status import ExitCode
from gate.report.history import Key, terminal
from gate.spec.diagnostics import did_you_mean

DEFAULT_METRIC = "numerical.sqnr"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("case", metavar="CASE", help="<spec>/<quantization>@<target>")
    parser.add_argument(
        "--metric",
        default=DEFAULT_METRIC,
        metavar="METRIC",
        help=f"metric, or tier.metric (default: {DEFAULT_METRIC})",
    )
    parser.add_argument(
        "--subject", metavar="NAME", help="only this output or layer (default: all)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it")


class UnknownError(Exception):
    """A name on the command line that nothing has; the message is for the user."""


def files_of(case_id: str, store: BaselineStore) -> tuple[Path, ...]:
    """The case's baselines, one for each environment class.

    Raises:
        UnknownError: it has none.
    """
    files = store.files(case_id)
    if not files:
        raise UnknownError(f"{case_id}: there is no baseline in {store.folder(case_id)}")
    return files


def run(args: argparse.Namespace, store: BaselineStore) -> int:
    """Show the history of every environment class that has a baseline of the case now.

    Raises:
        UnknownError: there is no such baseline or metric.
        BaselineError: there is no repository, or a drawing is wanted and its library is not there.
    """
    files = files_of(args.case, store)
    found: dict[Key, list[Point]] = {}
    states: list[Accepted] = []
    for path in files:
        own = history(path)
        states += own
        for (metric, subject, unit), points in series(own, args.metric).items():
            if args.subject in (None, subject):
                name = subject if len(files) == 1 else f"{subject} on {path.stem}"
                found[metric, name, unit] = points
    if not found:
        known = list(metrics(states))
        hint = did_you_mean(args.metric, [*known, *(name.partition(".")[2] for name in known)])
        told = f" ({hint})" if hint else f"; it holds {', '.join(known)}"
        raise UnknownError(f"{args.case}: no baseline holds {args.metric}{told}")
    for state in states:
        if state.fault:
            sys.stderr.write(f"{(state.commit or 'now')[:9]} {state.path}: {state.fault}\n")
    if args.svg is not None:
        args.svg.write_text(_picture(args.case, found), encoding="utf-8")
    sys.stdout.write(_document(args.case, found) if args.json else terminal(found))
    return ExitCode.PASS


def _picture(case_id: str, found: dict[Key, list[Point]]) -> str:
    try:
        from gate.report.history_picture import svg
    except ImportError as error:
        raise BaselineError(f"--svg needs {error.name}: pip install 'quantgate[html]'") from None
    return svg(case_id, found)


def _document(case_id: str, found: dict[Key, list[Point]]) -> str:
    document = {
        "case_id": case_id,
        "series": [
            {
                "metric": metric,
                "subject": subject,
                "unit": unit,
                "points": [
                    {
                        "commit": point.at.commit,
                        "date": point.at.date,
                        "value": point.value,
                        "reason": point.at.baseline.provenance.reason if point.at.baseline else "",
                    }
                    for point in points
                ],
            }
            for (metric, subject, unit), points in found.items()
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
