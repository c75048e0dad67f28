"""Writing under kills, full disks and other writers."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from gate.baseline import transaction
from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.core.baseline import Baseline, BaselineFound
from tests.unit.judge import builders as build

CASES = ("digits/a@t", "digits/b@t", "digits/c@t")


def generation(number: int, cases: tuple[str, ...] = CASES) -> list[Baseline]:
    """The same cases, all marked with one number."""
    return [build.baseline(case_id=case, data_digest=f"{number:064d}") for case in cases]


def generations(store: BaselineStore) -> set[str]:
    found = [store.lookup(case, build.ENVIRONMENT) for case in CASES]
    assert all(isinstance(one, BaselineFound) for one in found), found
    return {one.baseline.data_digest for one in found}


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: a kill loses nothing that was written, synchronised or not."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made below it
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def killed_before_line(number: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that is killed before the given line of the transaction's code that
    it would execute; False where it ended before that."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal left
        if frame.f_code.co_filename != transaction.__file__:
            return None
        if event == "line":
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return trace

    def traced() -> None:
        sys.settrace(trace)
        work()

    _, status = os.waitpid(forked(traced), 0)
    return os.WIFSIGNALED(status)


def whole(store: BaselineStore) -> None:
    """Every file is sound before anything is repaired, as a reader without the lock would see it."""
    for path in store.root.rglob("[!.]*.json"):
        store.check(path)


def test_a_kill_before_any_line_leaves_the_old_set_or_the_new_one(fast_folder: Path) -> None:
    store = BaselineStore(fast_folder / "baselines")
    # Larger than a buffer, so that a part of it is in the file before it is complete.
    large = {"candidate": "b" * 20_000}
    old, new = (
        [build.baseline(case_id=c, data_digest=f"{n:064d}", artifacts=large) for c in CASES]
        for n in (0, 1)
    )
    seen: list[str] = []
    journals = strays = parts = 0
    for line in itertools.count():
        store.write_all(old)
        killed = killed_before_line(line, partial(store.write_all, new))
        journals += transaction.interrupted(store.root)
        left = list(store.root.rglob("*.tmp"))
        strays += bool(left)
        parts += any(0 < path.stat().st_size < 20_000 for path in left)
        whole(store)
        (found,) = generations(store)
        seen.append(found)
        assert not transaction.interrupted(store.root)
        store.write_all(old)
        assert not list(store.root.rglob("*.tmp"))
        if not killed:
            break
    assert len(seen) > 100
    # One moment decides: before it the old ones, from then on the new ones.
    decided = seen.index(f"{1:064d}")
    assert seen == [f"{0:064d}"] * decided + [f"{1:064d}"] * (len(seen) - decided)
    # The kills did hit the middle of everything.
    assert min(strays, journals, parts) > 1


def test_a_kill_before_any_line_of_the_repair_is_repaired_next(fast_folder: Path) -> None:
    store = BaselineStore(fast_folder / "baselines")
    journal = store.root / ".journal.json"

    def decide_and_stop() -> None:
        transaction._finish = lambda _: os._exit(0)  # in a process of its own
        store.write_all(generation(1))

    for line in itertools.count():
        store.write_all(generation(0))
        os.waitpid(forked(decide_and_stop), 0)
        assert journal.exists()
        killed = killed_before_line(line, partial(generations, store))
        whole(store)
        assert generations(store) == {f"{1:064d}"}
        assert not journal.exists()
        if not killed:
            break
    assert line > 30


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_a_kill_between_the_renames_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch, moves: int
) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.write_all(generation(0))
    replace = Path.replace
    done = 0

    def die_after(self: Path, target: Path) -> Path:
        nonlocal done
        if not target.name.startswith(".") and done == moves:
            os._exit(9)
        done += not target.name.startswith(".")
        return replace(self, target)

    def die_at_the_end(self: Path, *args: object, **kwargs: object) -> None:
        os._exit(9)

    def write() -> None:
        monkeypatch.setattr(Path, "replace", die_after)
        if moves == len(CASES):
            monkeypatch.setattr(Path, "unlink", die_at_the_end)
        store.write_all(generation(1))

    _, status = os.waitpid(forked(write), 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert transaction.interrupted(store.root)
    assert generations(store) == {f"{1:064d}"}
    assert not transaction.interrupted(store.root)


def test_a_kill_before_the_journal_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.write_all(generation(0))

    def write() -> None:
        monkeypatch.setattr(Path, "replace", lambda *_: os._exit(9))
        store.write_all(generation(1))

    os.waitpid(forked(write), 0)
    assert list(store.root.rglob("*.tmp"))
    assert generations(store) == {f"{0:064d}"}
    store.write_all(generation(2))
    assert not list(store.root.rglob("*.tmp"))


def test_two_writers_at_once_take_turns(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path / "baselines")

    def write(first: int) -> Callable[[], None]:
        return lambda: [store.write_all(generation(first + i)) for i in range(15)] and None

    children = [forked(write(first)) for first in (100, 200, 300)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert len(generations(store)) == 1
    assert not list(store.root.rglob("*.tmp"))


def test_a_writer_that_waits_too_long_says_so(tmp_path: Path) -> None:
    root = tmp_path / "baselines"
    reader, writer = os.pipe()

    def hold() -> None:
        with transaction.locked(root):
            os.write(writer, b"x")
            time.sleep(30)

    child = forked(hold)
    try:
        os.read(reader, 1)
        with (
            pytest.raises(BaselineError, match="another process"),
            transaction.locked(root, timeout=0.2),
        ):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.write_all(generation(0))
    # The first two fit, the third is larger.
    baselines = generation(1)
    baselines[2] = build.baseline(case_id=CASES[2], artifacts={"candidate": "b" * 20_000})
    with file_size_limit(16_000), pytest.raises(BaselineError, match="nothing was changed"):
        store.write_all(baselines)
    assert generations(store) == {f"{0:064d}"}
    assert not list(store.root.rglob("*.tmp"))
    assert not transaction.interrupted(store.root)


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"moves": 3, "removes": []}',
        json.dumps({"moves": [["../../a", "b.json"]], "removes": []}),
        json.dumps({"moves": [], "removes": ["/etc/hostname"]}),
        json.dumps({"moves": [], "removes": ["../victim"]}),
    ],
)
def test_a_journal_that_no_gate_wrote_is_refused(tmp_path: Path, content: str) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.write_all(generation(0))
    victim = tmp_path / "victim"
    victim.write_text("x", "utf-8")
    (store.root / ".journal.json").write_text(content, "utf-8")
    with pytest.raises(BaselineError, match="a journal that no gate wrote"):
        store.lookup(CASES[0], build.ENVIRONMENT)
    assert victim.exists()


def test_the_lock_leaves_no_file_among_the_baselines(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.write_all(generation(0))
    assert {p.suffix for p in store.root.rglob("*") if p.is_file()} == {".json"}
