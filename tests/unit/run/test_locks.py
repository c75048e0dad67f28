"""Workers compute side by side and time alone, whoever waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gate.run.cache import Cache
from gate.run.locks import FileLock, Machine, silently

SECONDS = 20.0


def worker(root: Path) -> Machine:
    """In the room, as if in a process of its own: each has its own descriptors."""
    machine = Machine(root, jobs=2, announce=silently)
    machine.enter()
    return machine


@contextmanager
def beside(work: threading.Thread) -> Iterator[None]:
    work.start()
    yield
    work.join(SECONDS)
    assert not work.is_alive(), "the workers wait for each other"


def free(root: Path, *, shared: bool) -> bool:
    """Whether somebody could have the room now."""
    room = FileLock(root / "room.lock")
    try:
        return room.try_acquire(shared=shared)
    finally:
        room.release()


def test_the_room_is_taken_again_after_timing(tmp_path: Path) -> None:
    machine = worker(tmp_path)
    with machine.alone(again=True):
        assert not free(tmp_path, shared=True)
    assert free(tmp_path, shared=True)
    assert not free(tmp_path, shared=False)
    with machine.alone():
        assert not free(tmp_path, shared=True)
    assert free(tmp_path, shared=False)


def test_timing_waits_for_the_others(tmp_path: Path) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    timed = threading.Event()

    def times() -> None:
        with one.alone(again=True):
            timed.set()

    with beside(threading.Thread(target=times, daemon=True)):
        assert not timed.wait(0.2)
        with other.outside("another has the file"):
            assert timed.wait(SECONDS)


def test_who_makes_what_another_waits_for_may_time(tmp_path: Path) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    waits, seen = threading.Event(), []

    @contextmanager
    def announced(reason: str) -> Iterator[None]:
        with other.outside(reason):
            waits.set()
            yield

    def looks() -> None:
        with Cache(tmp_path / "cache", announce=announced).slot("choice", {}) as slot:
            seen.append(slot.entry)
            assert not free(tmp_path, shared=False)  # it computes again

    looking, done = threading.Thread(target=looks, daemon=True), threading.Event()
    with Cache(tmp_path / "cache").slot("choice", {}) as slot:
        looking.start()
        assert waits.wait(SECONDS)
        with beside(threading.Thread(target=partial(_time, one, done), daemon=True)):
            assert done.wait(SECONDS), "the workers wait for each other"
        slot.staging()
        slot.commit({})
    looking.join(SECONDS)
    assert seen[0] is not None


def _time(machine: Machine, done: threading.Event) -> None:
    with machine.alone(again=True):
        done.set()
