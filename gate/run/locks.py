"""Shared and exclusive locks between the processes of a run.

The kernel's ``flock`` is used directly: locks end with their process however it ends, and unlike
the usual lock-file libraries it knows shared ownership.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

Announce = Callable[[str], AbstractContextManager[None]]
"""Given a reason, wraps the time in which a worker waits."""


def silently(_reason: str) -> AbstractContextManager[None]:
    """Announce nothing."""
    return nullcontext()


class FileLock:
    """One ``flock`` on one file, held by this object until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(
        self, *, shared: bool = False, announce: Announce = silently, reason: str = ""
    ) -> None:
        """Wait for the lock; waiting is announced only where there is any. Changes the mode of a
        lock that is held."""
        if not self.try_acquire(shared=shared):
            with announce(reason):
                fcntl.flock(self._open(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.flock(self._open(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._descriptor


class Machine:
    """Lets workers compute side by side, but time alone.

    Everybody passes a turnstile before entering the room; who wants the room alone keeps the
    turnstile closed while waiting, so that newcomers cannot keep the room occupied for ever.
    """

    def __init__(self, directory: Path, *, jobs: int, announce: Announce) -> None:
        self._alone = jobs <= 1
        self._turnstile = FileLock(directory / "turnstile.lock")
        self._room = FileLock(directory / "room.lock")
        self._announce = announce

    def enter(self) -> None:
        """Compute beside others, from now on."""
        self._take(shared=True, reason="another case is being timed")

    @contextmanager
    def alone(self, *, again: bool = False) -> Iterator[None]:
        """Compute with no other worker of the run at work. Ends what ``enter`` began; with ``again``
        it begins anew afterwards."""
        self._room.release()
        self._take(shared=False, reason="timing needs the machine to itself")
        try:
            yield
        finally:
            self._room.release()
        if again:
            self.enter()

    @contextmanager
    def outside(self, reason: str) -> Iterator[None]:
        """Wait for another worker, announced, without being in its way: it may want to time alone
        before it gives what is waited for."""
        self._room.release()
        with self._announce(reason):
            yield
        self.enter()

    def _take(self, *, shared: bool, reason: str) -> None:
        if self._alone:
            return
        self._turnstile.acquire(shared=shared, announce=self._announce, reason=reason)
        try:
            self._room.acquire(shared=shared, announce=self._announce, reason=reason)
        finally:
            self._turnstile.release()
