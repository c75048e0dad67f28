"""``gate lint``: check spec files; every mistake at once, nothing is run."""

from __future__ import annotations

import argparse
import json
import sys

from gate.cli.arguments import add_paths
from gate.core.status import ExitCode
from gate.judge.wording import count
from gate.report import github
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_paths(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong, or how many specs are fine."""
    try:
        specs = load_specs(args.paths)
    except SpecError as error:
        found = error.diagnostics
        if args.json:
            _print_json(None, error)
        else:
            files = len({d.position.file for d in found})
            sys.stdout.write(f"{error}\n")
            if github.wanted():
                sys.stderr.write(github.render_diagnostics(found))
            sys.stderr.write(f"{count(len(found), 'error')} in {count(files, 'file')}\n")
        return ExitCode.USAGE
    if args.json:
        _print_json(len(specs), None)
    else:
        sys.stdout.write(f"{count(len(specs), 'spec')} ok\n")
    return ExitCode.PASS


def _print_json(specs: int | None, error: SpecError | None) -> None:
    document = {
        "ok": error is None,
        "specs": specs,
        "diagnostics": [
            {
                "file": d.position.file,
                "line": d.position.line,
                "column": d.position.column,
                "path": d.path,
                "message": d.message,
                "hint": d.hint,
            }
            for d in (error.diagnostics if error is not None else ())
        ],
    }
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
