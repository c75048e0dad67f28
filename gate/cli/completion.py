"""``gate completion``: a completion script for a shell."""

from __future__ import annotations

import argparse
import sys

from gate.core.status import ExitCode

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=" or ".join(SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print the script; the first line says where to put it."""
    import shtab

    from gate.cli.main import build_parser

    sys.stdout.write(shtab.complete(build_parser(None, complete=True), shell=args.shell) + "\n")
    return ExitCode.PASS
