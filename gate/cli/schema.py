"""``gate schema``: the JSON Schema of specs, for editors and for checking without the gate."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

from gate.core.status import ExitCode
from gate.spec import schema
from gate.spec.schema_assembly import assemble, serialise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="assemble it anew from the built-in plugins and write it into the package",
    )


def run(args: argparse.Namespace) -> int:
    """Print the schema that specs are checked against here, or renew the committed file."""
    if not args.write:
        sys.stdout.write(serialise(schema.current()))
        return ExitCode.PASS
    file = Path(str(resources.files("gate.spec") / "schema" / schema.FILE))
    text = serialise(assemble())
    changed = not file.is_file() or file.read_text(encoding="utf-8") != text
    if changed:
        file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{file}: {'written' if changed else 'up to date'}\n")
    return ExitCode.PASS
