"""Entry point of the console script ``gate``: a lazy table of commands, and nothing else."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from gate import __version__
from gate.core.status import ExitCode
from gate.report import stdout

# name -> (module, one-line help). A module has add_arguments(parser) and run(args) -> exit code, and
# is imported only when its command is called.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("gate.cli.run", "run the cases of specs and judge them"),
    "merge": ("gate.cli.merge", "put the runs of shards together and judge them"),
    "judge": ("gate.cli.judge", "judge stored observations again, without running anything"),
    "report": ("gate.cli.report", "write a page to look at of a stored run"),
    "init": ("gate.cli.init", "write a first spec for a model"),
    "plan": ("gate.cli.plan", "show the cases, what each will run and about how long"),
    "localise": (
        "gate.cli.localise",
        "name the layer that is at fault, save it, find what must stay in float",
    ),
    "choose": (
        "gate.cli.choose",
        "run ladders and searches, and write the recipes that they come to into the spec",
    ),
    "lint": ("gate.cli.lint", "check spec files"),
    "baseline": ("gate.cli.baseline", "update, show, diff, log, verify or prune baselines"),
    "drill": ("gate.cli.drill", "plant faults into candidates: would the specs notice?"),
    "tune-tolerances": (
        "gate.cli.tune_tolerances",
        "propose bounds from measured noise and planted faults, as a diff",
    ),
    "upgrade": (
        "gate.cli.upgrade",
        "say what other versions do to every case, and which part did it",
    ),
    "bisect": ("gate.cli.bisect", "find the version or commit since which a check fails"),
    "doctor": ("gate.cli.doctor", "say which backends and quantizers work here, and why not"),
    "metrics": ("gate.cli.metrics", "list every metric with unit, direction and formula"),
    "schema": ("gate.cli.schema", "print the JSON Schema of specs"),
    "completion": ("gate.cli.completion", "print a completion script for bash, zsh or fish"),
}

EPILOG = """examples:
  gate init model.onnx                      write a first spec, with measured tolerances
  gate lint specs/                          check specs; runs nothing
  gate run specs/ --jobs 2 -v               run, judge, show every check
  gate run specs/ --select 'resnet*@ort-*'  some cases
  gate run specs/ --shard 1/4               one machine of four; then: gate merge DIR...
  gate judge .gate/runs/latest              judge again without running
  gate baseline update specs/ --reason 'calibration set grew'
  gate upgrade 'onnxruntime==1.31.1'        what would change, and who changes it
  eval "$(gate completion bash)"            completion for this shell

exit codes:
  0 pass   1 the gate failed   2 spec or usage   3 infrastructure
  4 inconclusive (where the policy says so)   130 interrupted"""


def build_parser(command: str | None, *, complete: bool = False) -> argparse.ArgumentParser:
    """Parser for all commands, with the arguments of ``command`` alone filled in, or of all."""
    parser = argparse.ArgumentParser(
        prog="gate",
        description="Declarative validation and regression gate for quantized neural networks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if complete or name == command:
            importlib.import_module(module).add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    stdout.ensure()
    try:
        options = build_parser(command).parse_args(arguments)
        code = int(importlib.import_module(COMMANDS[options.command][0]).run(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away. What the command would have come to is not known here,
        # so it is no pass; `run` and `judge` see to it themselves.
        stdout.discard()
        return ExitCode.INFRASTRUCTURE
    except OSError as error:
        # A full disk, a folder without permission: said, whichever station met it.
        stdout.discard()
        sys.stderr.write(f"gate: {error}\n")
        return ExitCode.INFRASTRUCTURE
    return code


def script() -> NoReturn:
    """The command ``gate``: end with the exit code of ``main``, and let the system clear up.

    Taking millions of records apart one by one would take seconds, after all has been said.
    """
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # what was to be told did not get out
        code = code or ExitCode.INFRASTRUCTURE
    os._exit(code)


if __name__ == "__main__":
    script()
