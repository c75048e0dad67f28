"""Work on thousands of records, on every processor at once."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MANY = 1000
"""Records for which other processes are worth their start."""


def mapped(work: Callable[[T], R], records: Sequence[T], *, worth: int | None = None) -> list[R]:
    """``[work(record) for record in records]``, for ``work`` that changes nothing but what it returns.

    Where there are many records and processors, copies of this process (``fork``) take a part each:
    they have the records already, and only answers travel. What a copy cannot do, for whatever reason,
    is done here, so that it raises here.

    Args:
        work: what is done with each record.
        records: what it is done with; in an answer they stay the very same.
        worth: as much work as on so many records; their own number where it is not given.
    """
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    few = (len(records) if worth is None else worth) < MANY
    is_copy = multiprocessing.parent_process() is not None
    if few or is_copy or processors < 2 or other_threads():
        return [work(record) for record in records]
    own, *others = (records[start::processors] for start in range(min(processors, len(records))))
    copies: list[_Copy[R]] = [_Copy(work, part) for part in others]
    try:
        parts = [[work(record) for record in own]]
        for copy, part in zip(copies, others, strict=True):
            found = copy.answers()
            parts.append([work(record) for record in part] if found is None else found)
    finally:
        for copy in copies:
            copy.end()
    return [parts[index % len(parts)][index // len(parts)] for index in range(len(records))]


def other_threads() -> bool:
    """Whether there are any. A copy has one: what another one holds locked would stay so in it."""
    return threading.active_count() > 1


class _Copy(Generic[R]):
    """A copy of this process that works on some records."""

    def __init__(self, work: Callable[[T], R], records: Sequence[T]) -> None:
        context = multiprocessing.get_context("fork")
        self._records = records
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(work, records, answers), daemon=True)
        self._process.start()
        answers.close()

    def answers(self) -> list[R] | None:
        """What it found; None where it did not come to an end."""
        try:
            written = self._answers.recv_bytes()
        except (EOFError, OSError):
            return None
        found: list[R] = _Unpickler(io.BytesIO(written), self._records).load()
        return found

    def end(self) -> None:
        """End it, however far it is."""
        self._process.kill()
        self._process.join()
        self._answers.close()


def _work(work: Callable[[T], R], records: Sequence[T], answers: Connection) -> None:
    """The copy's side; whatever goes wrong, the other side meets it again."""
    try:
        found = [work(record) for record in records]
        written = io.BytesIO()
        _Pickler(written, records).dump(found)
        answers.send_bytes(written.getbuffer())
    finally:
        # No word, no report: those are the other's.
        os._exit(0)


class _Pickler(pickle.Pickler):
    """Writes answers; the records that were worked on are on the other side already."""

    def __init__(self, file: io.BytesIO, records: Sequence[object]) -> None:
        super().__init__(file, protocol=5)
        self._places = {id(record): place for place, record in enumerate(records)}

    def persistent_id(self, record: object) -> int | None:
        """See ``pickle``."""
        return self._places.get(id(record))


class _Unpickler(pickle.Unpickler):
    """Reads what ``_Pickler`` wrote."""

    def __init__(self, file: io.BytesIO, records: Sequence[object]) -> None:
        super().__init__(file)
        self._records = records

    def persistent_load(self, place: Any) -> object:
        """See ``pickle``."""
        return self._records[place]
