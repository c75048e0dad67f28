"""Launches: fresh processes that time reference, candidate and base in turns.

A process has a bias of its own (where the models came to lie in memory), which more rounds in it do
not average out and more processes do. ``launch_child`` is their own side.
"""

from __future__ import annotations

from pathlib import Path

from gate.run.companion import Companion, Started
from gate.run.job import (
    LAUNCH_ANSWER_FILE,
    LAUNCH_FILE,
    LaunchAnswer,
    LaunchJob,
    write_record,
)


class Launch(Companion[LaunchAnswer]):
    """The worker's handle on one launch. It imports and opens at once, and times when told to."""

    def __init__(self, started: Started, job: LaunchJob, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder / LAUNCH_FILE, job)
        super().__init__(
            started,
            "launch",
            folder,
            answer_file=LAUNCH_ANSWER_FILE,
            answer=LaunchAnswer,
            what="a process that times the models",
        )
