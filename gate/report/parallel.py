"""Work on thousands of records, on every processor at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MANY = 1000
"""Records for which other processes are worth their start."""


def mapped(work: Callable[[T], R], records: Sequence[T]) -> list[R]:
    """``[work(record) for record in records]``, for ``work`` that changes nothing but what it returns.

    Where there are many records and processors, copies of this process (``fork``) take a part each:
    they have the records already, and only answers travel. What a copy cannot do, for whatever reason,
    is done here, so that it raises here.
    """
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    # A copy has one thread: what another one holds locked would stay so.
    if len(records) < MANY or processors < 2 or threading.active_count() > 1:
        return [work(record) for record in records]
    size = -(-len(records) // processors)
    own, *others = (records[start : start + size] for start in range(0, len(records), size))
    copies: list[_Copy[R]] = [_Copy(work, part) for part in others]
    try:
        answers = [work(record) for record in own]
        for copy, part in zip(copies, others, strict=True):
            found = copy.answers()
            answers += [work(record) for record in part] if found is None else found
    finally:
        for copy in copies:
            copy.end()
    return answers


class _Copy(Generic[R]):
    """A copy of this process that works on some records."""

    def __init__(self, work: Callable[[T], R], records: Sequence[T]) -> None:
        context = multiprocessing.get_context("fork")
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(work, records, answers), daemon=True)
        self._process.start()
        answers.close()

    def answers(self) -> list[R] | None:
        """What it found; None where it did not come to an end."""
        try:
            found: list[R] = pickle.loads(self._answers.recv_bytes())  # noqa: S301 - of a copy of our own
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> None:
        """End it, however far it is."""
        self._process.kill()
        self._process.join()
        self._answers.close()


def _work(work: Callable[[T], R], records: Sequence[T], answers: Connection) -> None:
    """The copy's side; whatever goes wrong, the other side meets it again."""
    try:
        answers.send_bytes(pickle.dumps([work(record) for record in records], protocol=5))
    finally:
        # No word, no report: those are the other's.
        os._exit(0)
