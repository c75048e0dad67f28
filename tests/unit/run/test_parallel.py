"""Work on many records: the same answers from copies of the process, and the same faults."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from gate.baseline.store import BaselineStore
from gate.core.status import Status
from gate.report import json_report
from gate.report.figures import figures
from gate.report.verdicts import judged, judged_all
from gate.run import parallel
from gate.run.parallel import mapped, other_threads
from tests.unit.report.records import RESULTS

linux = pytest.mark.skipif(sys.platform != "linux", reason="copies of the process are for Linux")
HERE = os.getpid()


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MANY", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2}, raising=False)
    # Tests before these may have left idle threads of libraries.
    monkeypatch.setattr(parallel, "other_threads", lambda: False)


@linux
@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_copies_answer_in_order(count: int) -> None:
    answers = mapped(lambda record: (record * record, os.getpid()), range(count))
    assert [answer for answer, _ in answers] == [record * record for record in range(count)]
    assert len({process for _, process in answers}) == min(count, 3)
    assert not multiprocessing.active_children()


def test_few_records_stay_here() -> None:
    assert mapped(lambda _: os.getpid(), [1]) == [HERE]


@linux
def test_few_that_are_worth_many_do_not() -> None:
    first, second = mapped(lambda _: os.getpid(), [1, 2], worth=5)
    assert first == HERE != second


@linux
def test_a_copy_makes_no_copies() -> None:
    inner = mapped(lambda _: mapped(lambda _: os.getpid(), range(4)), range(2))
    assert len(set(inner[0])) == 3
    assert len(set(inner[1])) == 1


def test_beside_other_threads_they_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "other_threads", other_threads)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert set(mapped(lambda _: os.getpid(), range(9))) == {HERE}
    finally:
        done.set()
        thread.join()


@linux
def test_a_copy_that_is_killed_leaves_its_part_to_this_process() -> None:
    def work(record: int) -> int:
        if os.getpid() != HERE:
            os.kill(os.getpid(), 9)
        return record

    assert mapped(work, range(9)) == list(range(9))


def test_what_fails_in_a_copy_is_raised_here() -> None:
    def work(record: int) -> int:
        if record == 8:
            raise LookupError("the ninth")
        return record

    with pytest.raises(LookupError, match="the ninth"):
        mapped(work, range(9))
    assert not multiprocessing.active_children()


@linux
def test_an_interruption_ends_the_copies() -> None:
    def work(_record: int) -> int:
        if os.getpid() == HERE:
            raise KeyboardInterrupt
        threading.Event().wait(60)
        return 0

    with pytest.raises(KeyboardInterrupt):
        mapped(work, range(9))
    assert not multiprocessing.active_children()


def test_verdicts_and_report_are_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, baselines = list(RESULTS), BaselineStore(tmp_path)
    together = judged_all(many, baselines)
    text = json_report.render(together, many)
    numbers = [figures(result) for result in many]
    monkeypatch.setattr(parallel, "MANY", 10**9)
    alone = [judged(result, baselines) for result in many]
    assert together == alone
    assert numbers == [figures(result) for result in many]
    assert text == json_report.render(alone, many)


@linux
def test_records_in_answers_are_the_very_same() -> None:
    records = [Pair(left=index) for index in range(9)]
    answers = mapped(lambda record: (record, record), records)
    assert all(one is two is record for (one, two), record in zip(answers, records, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    left: object
    right: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    value: float


@linux
def test_records_of_every_kind_travel() -> None:
    def work(record: int) -> object:
        return [
            Pair(left=Single(value=math.inf), right=Pair(left=(record, "x"))),
            Status.FAIL,
            None,
        ]

    assert mapped(work, range(9)) == [work(record) for record in range(9)]
