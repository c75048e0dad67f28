"""Kills at random moments of baseline writes: how many leave a torn or mixed set of files.

A child replaces a set of baselines by its next generation, over and over, until it is killed.
Beside it the same with ``Path.write_text``, which is what a script would do. A set is torn where a file
cannot be read, and mixed where the files are of two generations.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.baseline.text import render
from gate.core.baseline import Baseline
from tests.bench.harness import Row
from tests.unit.judge import builders as build

KILLS = 1000
CASES = tuple(f"network/mode-{index}@cpu" for index in range(12))
LATEST_SECONDS = 0.030
"""Kills come up to this long after the child began: several generations are written by then."""

Write = Callable[[BaselineStore, Sequence[Baseline]], object]


def run() -> list[Row]:
    """As many kills of either way."""
    broken = {}
    for name, write in (("store", BaselineStore.write_all), ("bare", _write_bare)):
        with tempfile.TemporaryDirectory() as folder:
            broken[name] = _broken(Path(folder) / "baselines", write)
    return [
        Row(
            bench="kills",
            what=f"torn or mixed sets of {len(CASES)} files after {KILLS} kills",
            ours=broken["store"],
            other=broken["bare"],
            unit="",
            target="<= 0",
            limit=0.0,
            absolute=True,
            note=f"with write_text {broken['bare']}",
        )
    ]


def _broken(root: Path, write: Write) -> int:
    random_ = random.Random(0)  # noqa: S311 - moments of a benchmark
    store = BaselineStore(root)
    store.write_all(_generation(0))
    broken = 0
    for kill in range(KILLS):
        child = os.fork()
        if child == 0:
            for number in itertools.count(kill + 1):
                write(store, _generation(number))
        time.sleep(random_.uniform(0, LATEST_SECONDS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not _whole(store):
            broken += 1
            store.write_all(_generation(kill))
    return broken


def _generation(number: int) -> list[Baseline]:
    return [build.baseline(case_id=case, data_digest=f"{number:064d}") for case in CASES]


def _whole(store: BaselineStore) -> bool:
    """Read as the next command would, which finishes what was decided."""
    try:
        found = [store.check(path) for path in store.files()]
    except BaselineError:
        return False
    return len(found) == len(CASES) and len({one.data_digest for one in found}) == 1


def _write_bare(store: BaselineStore, baselines: Sequence[Baseline]) -> None:
    for baseline in baselines:
        store.place(baseline).write_text(render(baseline))
