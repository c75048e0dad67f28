"""``gate lint``: check spec files; every mistake at once, nothing is run."""

from __future__ import annotations

import argparse
import json
import sys

from gate.core.status import ExitCode
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a spec or a directory of specs")
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
            plural = "" if len(found) == 1 else "s"
            sys.stdout.write(f"{error}\n")
            sys.stderr.write(f"{len(found)} error{plural} in {files} file{'s'[: files - 1]}\n")
        return ExitCode.USAGE
    if args.json:
        _print_json(len(specs), None)
    else:
        sys.stdout.write(f"{len(specs)} spec{'s' if len(specs) > 1 else ''} ok\n")
    return ExitCode.PASS


def _print_json(count: int | None, error: SpecError | None) -> None:
    document = {
        "ok": error is None,
        "specs": count,
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
