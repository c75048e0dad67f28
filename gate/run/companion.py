"""Processes beside the worker: they get ready while it works, and measure when they are told to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Generic, TypeVar

from gate.backends.base import BackendError
from gate.core.convert import MalformedRecordError
from gate.run.job import read_record
from gate.run.output import last_lines

READY = b"ready\n"
GO = b"go\n"

T = TypeVar("T")


class Companions:
    """Processes that import a backend before anybody knows what for: that takes as long as reading
    model and data does, and needs neither."""

    def __init__(self, folder: Path, *, backend: str) -> None:
        """``folder`` is for what they print; ``backend`` is the one that they will open models in."""
        folder.mkdir()
        self._folder = folder
        self._backend = backend
        self._started = 0
        self._waiting: list[Started] = []

    def start(self, count: int) -> None:
        """Start ``count`` of them ahead."""
        self._waiting += [self._new() for _ in range(count)]

    def take(self) -> Started:
        """One that waits, or where there is none a new one; from now on the caller's to end."""
        return self._waiting.pop(0) if self._waiting else self._new()

    def close(self) -> None:
        """End those that nobody took."""
        for process in self._waiting:
            process.end()

    def _new(self) -> Started:
        self._started += 1
        return Started(self._folder / f"{self._started}.log", backend=self._backend)


class Started:
    """One process, ``python -m gate.run.worker --companion BACKEND``; ``companion_child`` is its side."""

    def __init__(self, log: Path, *, backend: str) -> None:
        """Start it; what it prints goes to ``log``."""
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, own arguments
                [sys.executable, "-m", "gate.run.worker", "--companion", backend],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )

    def end(self) -> None:
        """End it, however far it is."""
        self.process.kill()
        self.process.wait()


class Companion(Generic[T]):
    """The worker's handle on one that has its job, which it reads from a folder and answers there."""

    def __init__(
        self,
        started: Started,
        role: str,
        folder: Path,
        *,
        answer_file: str,
        answer: type[T],
        what: str,
    ) -> None:
        """Give ``started`` a role of ``companion_child.ROLES``; ``what`` it then is, for messages."""
        self._started = started
        self._process = started.process
        self._answer_file = folder / answer_file
        self._answer = answer
        self._what = what
        if self._process.stdin is None:
            raise ValueError("a companion is told by its standard input")
        try:
            self._process.stdin.write(json.dumps([role, str(folder)]).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed() from error

    def wait_until_ready(self) -> None:
        """Wait for the end of what need not be quiet.

        Raises:
            BackendError: it has failed.
        """
        pipe = self._process.stdout
        if pipe is None or pipe.readline() != READY:
            raise self._failed()

    def measure(self) -> T:
        """Let it measure and return what it saw.

        Raises:
            BackendError: it has failed.
        """
        self._process.communicate(GO)
        if self._process.returncode != 0:
            raise self._failed()
        try:
            return read_record(self._answer_file, self._answer)
        except (OSError, MalformedRecordError) as error:
            raise self._failed() from error

    def close(self) -> None:
        """End it, however far it is."""
        self._started.end()

    def _failed(self) -> BackendError:
        self.close()
        said = last_lines(self._started.log) or "it printed nothing"
        return BackendError(f"{self._what} failed (exit code {self._process.returncode}): {said}")
