"""Live verdicts under load: identical models, and 5 % more real work.

Each verdict is the gate's own: fresh processes, the baseline's artifact beside the candidate, a FAIL
confirmed. Busy loops run beside it: one for the error rates, two for the time that a verdict takes.
``python -m tests.bench latency --runs 300`` takes about an hour; a few runs are the default.
``.bench/latency.json`` has every verdict.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gate.core.status import Status
from gate.judge.latency import timing_checks
from gate.run.base import Base
from gate.run.companion import Companions
from gate.run.job import Job
from gate.run.timing import Timing
from tests.bench import latency_models as models
from tests.bench.harness import ROOT, Row

RUNS = int(os.environ.get("GATE_BENCH_RUNS", "8"))
SECONDS_RUNS = 5
LIMIT_SECONDS = 15.0
SAID_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    status: Status
    seconds: float
    launches: int
    message: str


def run() -> list[Row]:
    """Error rates under one busy loop, then the time of a verdict under two."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with tempfile.TemporaryDirectory() as place:
        bench = _Bench(Path(place))
        with busy(1):
            same = bench.verdicts("same", RUNS)
            more = bench.verdicts("more", RUNS)
        with busy(2):
            under_two = bench.verdicts("same", SECONDS_RUNS, first=RUNS)
    runs = {"identical": same, "5 % more work": more, "identical, two busy loops": under_two}
    _say(runs)
    return [
        _row(
            f"false FAIL in {RUNS} runs of identical models, one busy loop",
            _count(same, Status.FAIL),
            0,
        ),
        _row(
            f"not FAIL in {RUNS} runs at +5 % of real work, one busy loop",
            RUNS - _count(more, Status.FAIL),
            RUNS // 100,
        ),
        replace(
            _row("seconds a verdict, two busy loops", max(r.seconds for r in under_two), 0),
            unit="s",
            target=f"<= {LIMIT_SECONDS:g} s",
            limit=LIMIT_SECONDS,
        ),
    ]


class _Bench:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reference = models.write_reference(folder / "reference.onnx")
        self._base = models.artifact(
            models.write_chain(folder / "base.onnx", models.LAYERS, "accepted")
        )
        self._candidates = {
            "same": models.write_chain(folder / "same.onnx", models.LAYERS, "now"),
            "more": models.write_chain(folder / "more.onnx", models.LAYERS_SLOWER, "now"),
        }
        self._case = models.case(folder)

    def verdicts(self, which: str, count: int, *, first: int = 0) -> list[_Run]:
        """So many verdicts; long series say now and then how far they are."""
        runs: list[_Run] = []
        for index in range(first, first + count):
            runs.append(self.verdict(which, index))
            if len(runs) % SAID_EVERY == 0:
                counts = Counter(run.status.value for run in runs)
                print(f"  {which}: {len(runs)} of {count}: {dict(counts)}", flush=True)
        return runs

    def verdict(self, which: str, index: int) -> _Run:
        """Time and judge one case."""
        made = models.prepared(self._case, self._reference, self._candidates[which])
        seen, lookup = models.facts(self._case, self._base, made)
        job = Job(
            case=self._case,
            nonce="",
            cache_dir=self._folder,
            cache_bytes=0,
            lock_dir=self._folder,
            jobs=1,
        )
        started = time.monotonic()
        companions = Companions(
            self._folder / f"companions-{which}-{index}", backend=self._case.target.backend
        )
        timing = Timing(
            job,
            made,
            Base(artifact=self._base),
            companions,
            inputs=models.inputs(),
            folder=self._folder / f"{which}-{index}",
        )
        try:
            timing.start()
            timing.wait_until_ready()
            observed = timing.take(seen, lookup, lambda _done: None)
        finally:
            timing.close()
        (check,) = timing_checks(self._case, replace(seen, timing=observed), lookup)
        return _Run(
            status=check.status,
            seconds=time.monotonic() - started,
            launches=observed.launch[-1] + 1,
            message=check.message,
        )


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Processes that do nothing but compute, as another job on the machine does."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _count(runs: list[_Run], status: Status) -> int:
    return sum(run.status is status for run in runs)


def _row(what: str, ours: float, limit: float) -> Row:
    return Row(
        bench="latency",
        what=what,
        ours=ours,
        other=limit,
        unit="",
        target=f"<= {limit:g}",
        limit=limit,
        absolute=True,
    )


def _say(runs: dict[str, list[_Run]]) -> None:
    for name, group in runs.items():
        counts = Counter(run.status.value for run in group)
        unconfirmed = sum("not confirmed" in run.message for run in group)
        seconds = sorted(run.seconds for run in group)
        print(
            f"  {name}: {dict(counts)}, {unconfirmed} first FAILs not confirmed;"
            f" {statistics.median(seconds):.1f} s a verdict (at most {seconds[-1]:.1f}),"
            f" {statistics.mean(run.launches for run in group):.1f} launches;"
            f" last: {group[-1].message}"
        )
    target = ROOT / ".bench"
    target.mkdir(exist_ok=True)
    plain = {
        name: [[r.status.value, round(r.seconds, 2), r.launches, r.message] for r in group]
        for name, group in runs.items()
    }
    (target / "latency.json").write_text(json.dumps(plain, indent=1))
