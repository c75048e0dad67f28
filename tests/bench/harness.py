"""Rows, repeated whole-process timing, and a child process that reports its time and peak memory."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison: ours against a peer, a bare loop, or a ceiling."""

    bench: str
    what: str
    ours: float
    other: float
    """The peer's or the bare loop's figure; the ceiling itself for absolute targets."""
    unit: str
    target: str
    """As the requirement is put: ``ratio <= 1.15``."""
    limit: float
    """The number in ``target``; ``ours / other`` (or ``ours`` where ``absolute``) must not exceed it."""
    absolute: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over the other's; 0 where a ceiling of nothing is kept, infinite where it is not."""
        if self.other == 0.0:
            return math.inf if self.ours else 0.0
        return self.ours / self.other

    @property
    def met(self) -> bool:
        """Whether the target holds in this run."""
        return (self.ours if self.absolute else self.ratio) <= self.limit


def data_root() -> Path | None:
    """Folder of the real images: ``GATE_DATA``, else ``../shared/data``; None where missing."""
    folder = Path(os.environ.get("GATE_DATA", ROOT.parent / "shared" / "data"))
    return folder if (folder / "imagenet_val1300" / "dataset.txt").is_file() else None


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with one compute thread, so that ratios are of work, not of cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CI": "true", **extra}


def wall_seconds(command: Sequence[str], *, cwd: Path = ROOT, ok: Sequence[int] = (0,)) -> float:
    """Wall seconds of one whole process.

    Raises:
        RuntimeError: it ended with a code that is not in ``ok``; its output is in the message.
    """
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - start
    if done.returncode not in ok:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return elapsed


def interleaved_medians(
    commands: Mapping[str, Sequence[str]], *, rounds: int, cwd: Path = ROOT
) -> dict[str, float]:
    """Median wall seconds of each command, taken in turns after one warm-up of each."""
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for index in range(rounds + 1):
        for name, command in commands.items():
            seconds = wall_seconds(command, cwd=cwd)
            if index:
                samples[name].append(seconds)
    return {name: statistics.median(values) for name, values in samples.items()}


def child(module: str, **arguments: object) -> dict[str, float]:
    """Run ``python -m module`` with JSON arguments in a fresh process; it prints one JSON object last.

    Raises:
        RuntimeError: the process failed; its output is in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(arguments, default=str)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
