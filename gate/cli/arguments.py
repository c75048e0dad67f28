"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gate.baseline.store import BaselineStore
    from gate.run.shards import Shard


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Specs to read."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a spec or a folder of specs")


def add_select(parser: argparse.ArgumentParser) -> None:
    """A selection among their cases."""
    parser.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="GLOB",
        help="only cases whose id matches (several: any of them)",
    )


def add_no_stand_ins(parser: argparse.ArgumentParser) -> None:
    """Whether a spec's stand-in may run."""
    parser.add_argument(
        "--no-stand-ins",
        action="store_true",
        help="run no stand-in: where the named model is absent its cases are SKIPPED",
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """How many cases run at the same time."""
    parser.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="cases at the same time (default: 1)"
    )


def add_accept_worse(parser: argparse.ArgumentParser) -> None:
    """Which metrics of a baseline may get worse."""
    parser.add_argument(
        "--accept-worse",
        action="append",
        default=[],
        metavar="METRIC",
        help="let this metric get worse: a name, tier.name or glob (several: each of them)",
    )


def add_in_ci(parser: argparse.ArgumentParser) -> None:
    """The word without which baselines are not written in continuous integration."""
    parser.add_argument("--in-ci", action="store_true", help="allow it although CI is set")


def add_baselines(parser: argparse.ArgumentParser) -> None:
    """Where baselines are."""
    parser.add_argument(
        "--baselines",
        type=Path,
        metavar="DIR",
        help="folder of baselines (default: baselines/ of the project)",
    )


def baselines_of(args: argparse.Namespace) -> BaselineStore:
    """The baselines that :func:`add_baselines` lets the user name."""
    from gate.baseline.store import BaselineStore
    from gate.spec.project import project_root

    return BaselineStore(args.baselines or project_root() / "baselines")


def positive(text: str) -> int:
    """A whole number from 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found '{text}'")
    return number


def shard(text: str) -> Shard:
    """``i/n``."""
    from gate.run.shards import parse_shard

    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
