"""A process beside the worker: it gets ready while others work, and measures when it is told to."""

from __future__ import annotations

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


class Companion(Generic[T]):
    """The worker's handle on one such process, which reads its job from a folder and answers there."""

    def __init__(
        self, option: str, folder: Path, *, answer_file: str, answer: type[T], what: str
    ) -> None:
        """Start ``python -m gate.run.worker OPTION FOLDER``; ``what`` it is, for messages."""
        self._answer_file = folder / answer_file
        self._answer = answer
        self._what = what
        self._log = folder / f"{option.lstrip('-')}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, own arguments
                [sys.executable, "-m", "gate.run.worker", option, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

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
        self._process.kill()
        self._process.wait()

    def _failed(self) -> BackendError:
        self.close()
        said = last_lines(self._log) or "it printed nothing"
        return BackendError(f"{self._what} failed (exit code {self._process.returncode}): {said}")
