"""Launches: fresh processes that time reference, candidate and base in turns.

A process has a bias of its own (where the models came to lie in memory), which more rounds in it do
not average out and more processes do. ``launch_child`` is their own side.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gate.backends.base import BackendError
from gate.core.convert import MalformedRecordError
from gate.run.job import (
    LAUNCH_ANSWER_FILE,
    LAUNCH_FILE,
    LaunchAnswer,
    LaunchJob,
    read_record,
    write_record,
)
from gate.run.output import last_lines
from gate.run.probe import GO, READY


class Launch:
    """The worker's handle on one launch. It imports and opens at once, and times when told to."""

    def __init__(self, job: LaunchJob, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "launch.log"
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / LAUNCH_FILE, job)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, own arguments
                [sys.executable, "-m", "gate.run.worker", "--launch", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait until the models are open, which need not be quiet.

        Raises:
            BackendError: the launch has failed.
        """
        pipe = self._process.stdout
        if pipe is None or pipe.readline() != READY:
            raise self._failed()

    def measure(self) -> LaunchAnswer:
        """Let it time and return what it saw.

        Raises:
            BackendError: the launch has failed.
        """
        self._process.communicate(GO)
        if self._process.returncode != 0:
            raise self._failed()
        try:
            return read_record(self._folder / LAUNCH_ANSWER_FILE, LaunchAnswer)
        except (OSError, MalformedRecordError) as error:
            raise self._failed() from error

    def close(self) -> None:
        """End it, however far it is."""
        self._process.kill()
        self._process.wait()

    def _failed(self) -> BackendError:
        self.close()
        said = last_lines(self._log) or "it printed nothing"
        return BackendError(
            f"a process that times the models failed (exit code {self._process.returncode}): {said}"
        )
