"""The layers tier beside the numerical one: the same facts, and nobody's data source used twice at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gate import plugins
from gate.core.case import Plan
from gate.core.result import CaseResult
from gate.data.base import Batch
from gate.run.beside import Turns, beside, room_beside
from gate.run.events import Event
from gate.run.job import Job
from gate.run.mutation import Mutation
from gate.tiers.layers import LayersSeen

Engine = Callable[..., tuple[list[CaseResult], list[Event]]]
Planned = Callable[..., Plan]
TIERS = {"numerical": {"finite": True}, "layers": {"shapes": "equal", "sqnr": ">= 1 dB"}}


class Jealous:
    """Samples that must not be read by two threads at once."""

    def __init__(self) -> None:
        self.readers = 0
        self.met = False

    def __len__(self) -> int:
        return 40

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[Batch]:
        for start in range(0, limit or len(self), size):
            self.readers += 1
            self.met |= self.readers > 1
            time.sleep(0.001)
            rows = np.arange(start, start + size)
            batch = Batch(inputs={"x": rows}, labels=None, indices=tuple(rows.tolist()))
            self.readers -= 1
            yield batch

    def digest(self) -> str:
        return "d"


def test_one_thread_at_a_time_reads_samples_and_each_gets_all_of_them() -> None:
    samples = Jealous()
    turns = Turns(samples)

    def read(size: int) -> list[int]:
        return [i for batch in turns.batches(size) for i in batch.indices]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, (1, 2, 4, 5)):
            assert found == list(range(40))
    assert not samples.met
    assert (len(turns), turns.digest()) == (40, "d")
    assert [batch.indices for batch in turns.batches(3, limit=3)] == [(0, 1, 2)]


def job(planned: Planned, **changes: object) -> Job:
    (case,) = planned(tolerances=TIERS).cases
    folder = Path()
    made = Job(case=case, nonce="", cache_dir=folder, cache_bytes=0, lock_dir=folder, jobs=1)
    return replace(made, **changes)


def test_two_models_run_at_once_only_where_there_is_room(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, torch = (plugins.load("backends", name) for name in ("onnxruntime", "torch"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert room_beside(job(planned), runtime, runtime)
    assert room_beside(job(planned, jobs=2), runtime)
    assert not room_beside(job(planned, jobs=3), runtime)
    # Engine and threads of torch are settings of the process.
    assert not room_beside(job(planned), runtime, torch)
    mutation = Mutation(factory="m:f", fault="f", seed=0, case_id="c")
    assert not room_beside(job(planned, mutation=mutation), runtime)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert not room_beside(job(planned), runtime)


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_raised_beside_is_raised_where_it_is_asked_for(at_once: bool) -> None:
    where: list[str] = []

    def take() -> LayersSeen:
        where.append(threading.current_thread().name)
        raise ValueError("no layers")

    with beside(take, at_once=at_once) as seen, pytest.raises(ValueError, match="no layers"):
        seen()
    assert (where == [threading.main_thread().name]) is not at_once


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors",
)
def test_beside_or_after_the_facts_are_the_same(
    planned: Planned, engine: Engine, tmp_path: Path
) -> None:
    everywhere = os.sched_getaffinity(0)
    found = []
    for number, allowed in enumerate((everywhere, {min(everywhere)})):
        os.sched_setaffinity(0, allowed)  # the worker inherits it
        try:
            (result,), _ = engine(
                planned(tolerances=TIERS), cache_dir=None, run_dir=tmp_path / str(number)
            )
        finally:
            os.sched_setaffinity(0, everywhere)
        assert result.observation is not None
        assert result.observation.layers is not None
        found.append((result.observation.outputs, result.observation.layers))
    assert found[0] == found[1]
