"""Faults of the runtime: the same answers from the same backend, at a higher price."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import pytest

from gate.backends.base import Session
from gate.backends.onnxruntime import OnnxRuntimeBackend
from gate.core.artifact import Artifact
from gate.core.spec import TargetSpec
from gate.drill import inject
from gate.drill.catalogue import FAULTS
from gate.drill.runtime import Work
from gate.models.base import LoadedModel
from tests.unit.onnx_models import images, loaded, target

NAMES = [n for n, f in FAULTS.items() if f.point == "runtime"]
MIB = 2**20


class Counting(OnnxRuntimeBackend):
    """Remembers how candidates were opened."""

    def __init__(self) -> None:
        self.targets: list[TargetSpec] = []

    @contextmanager
    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> Iterator[Session]:
        self.targets.append(target)
        with super().open_candidate(artifact, model=model, target=target) as session:
            yield session


@contextmanager
def opened(name: str, artifact: Artifact, backend: Any = None) -> Iterator[Session]:
    worse = inject.load(name)(backend or OnnxRuntimeBackend(), np.random.default_rng(0))
    with worse.open_candidate(artifact, model=loaded(artifact.path), target=target()) as session:
        yield session


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.parametrize("name", NAMES)
def test_answers_stay_the_same(name: str, candidates: dict[str, Artifact]) -> None:
    artifact, backend = candidates["qdq"], OnnxRuntimeBackend()
    with backend.open_candidate(artifact, model=loaded(artifact.path), target=target()) as session:
        healthy = session.run(images(4))
        layers = [row.name for row in session.layers(images(2))]
    with opened(name, artifact) as session:
        broken = session.run(images(4))
        assert [row.name for row in session.layers(images(2))] == layers
        assert session.packed_bytes()
    assert {k: v.tobytes() for k, v in healthy.items()} == {
        k: v.tobytes() for k, v in broken.items()
    }


def test_everything_else_is_the_backends_own() -> None:
    worse = inject.load("sleep")(OnnxRuntimeBackend(), np.random.default_rng(0))
    assert worse.name == "onnxruntime"
    assert worse.environment(target()) == OnnxRuntimeBackend().environment(target())


def test_work_takes_the_processor_for_as_long_as_is_asked() -> None:
    work = Work()
    spent = []
    for _ in range(9):
        before = time.process_time_ns()
        work(4e6)
        spent.append(time.process_time_ns() - before)
    assert 2e6 < np.median(spent) < 12e6


def test_sleep_takes_time_and_no_processor(candidates: dict[str, Artifact]) -> None:
    inputs = images(64)
    with opened("sleep", candidates["qdq"]) as session:
        session.run(inputs)
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(10):
            session.run(inputs)
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    assert wall > 1.4 * cpu


def test_each_run_leaks(candidates: dict[str, Artifact]) -> None:
    with opened("memory_leak", candidates["qdq"]) as session:
        session.run(images(1))
        before = resident()
        for _ in range(50):
            session.run(images(1))
        assert resident() - before > 40 * MIB


def test_an_opened_model_holds_more(candidates: dict[str, Artifact]) -> None:
    before = resident()
    with opened("memory_held", candidates["qdq"]):
        assert resident() - before > 50 * MIB


def test_slow_load_opens_three_times(candidates: dict[str, Artifact]) -> None:
    backend = Counting()
    with opened("slow_load", candidates["qdq"], backend):
        pass
    assert backend.targets == [target()] * 3


def test_threads_are_others_than_those_said(candidates: dict[str, Artifact]) -> None:
    backend = Counting()
    with opened("threads", candidates["qdq"], backend):
        pass
    (seen,) = backend.targets
    assert seen.threads != target().threads
