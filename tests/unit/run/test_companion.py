"""Processes beside the worker: taken or new, ended by whoever has them, and told of when they fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gate.backends.base import BackendError
from gate.run.companion import Companion, Companions, Started
from gate.run.job import LaunchAnswer

IMPORTED_SECONDS = 60


@pytest.fixture
def companions(tmp_path: Path) -> Iterator[Companions]:
    made = Companions(tmp_path / "companions", backend="onnxruntime")
    yield made
    made.close()


def started_by(start: Callable[[], None]) -> list[psutil.Process]:
    """The processes that it starts; those that tests before have left (a tracker of resources) are none."""
    before = set(psutil.Process().children())
    start()
    return [process for process in psutil.Process().children() if process not in before]


def with_job(started: Started, folder: Path) -> Companion[LaunchAnswer]:
    return Companion(
        started, "launch", folder, answer_file="answer.json", answer=LaunchAnswer, what="the clock"
    )


def test_those_that_wait_are_taken_first(companions: Companions) -> None:
    (own,) = started_by(lambda: companions.start(1))
    first, second = companions.take(), companions.take()
    try:
        assert first.process.pid == own.pid
        assert second.process.pid != own.pid
    finally:
        first.end()
        second.end()


def test_one_that_waits_has_imported_the_runtime(companions: Companions) -> None:
    (own,) = started_by(lambda: companions.start(1))
    end = time.monotonic() + IMPORTED_SECONDS
    while not any("onnxruntime" in entry.path for entry in own.memory_maps()):
        assert time.monotonic() < end, "it did not import the runtime"
        assert own.is_running()
        time.sleep(0.05)


def test_those_that_nobody_took_are_ended(companions: Companions) -> None:
    waiting = started_by(lambda: companions.start(2))
    companions.close()
    assert len(waiting) == 2
    assert not any(process.is_running() for process in waiting)


def test_one_without_its_job_fails_with_what_it_printed(
    companions: Companions, tmp_path: Path
) -> None:
    companion = with_job(companions.take(), tmp_path / "nowhere")
    with pytest.raises(BackendError, match=r"(?s)the clock failed \(exit code 1\): .*nowhere"):
        companion.wait_until_ready()


def test_one_that_died_waiting_is_told_of(companions: Companions, tmp_path: Path) -> None:
    started = companions.take()
    started.end()
    with pytest.raises(BackendError, match=r"the clock failed \(exit code -9\)"):
        with_job(started, tmp_path).wait_until_ready()
