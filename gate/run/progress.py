"""Progress of a run: live lines on a terminal, one plain line an event elsewhere, or nothing."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, TextIO

from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.run.events import (
    CaseFinished,
    CaseStarted,
    Event,
    Said,
    StageEntered,
    StageProgress,
    Waiting,
)
from gate.run.settings import in_ci


class Quiet:
    """Shows nothing."""

    def __call__(self, event: Event) -> None:
        """Take an event."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the display."""


class Plain(Quiet):
    """One line when a case starts and one when it ends: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waits: set[tuple[str, str]] = set()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, CaseStarted):
            self._say(f"[{event.index + 1}/{event.total}] {event.case_id}: started")
        elif isinstance(event, Waiting) and event.reason:
            # One wait may have several steps; a log needs to hear of it once.
            if (event.case_id, event.reason) not in self._waits:
                self._waits.add((event.case_id, event.reason))
                self._say(f"{event.case_id}: waits: {event.reason}")
        elif isinstance(event, Said):
            self._say(f"{event.case_id}: {event.text}")
        elif isinstance(event, CaseFinished):
            self._say(f"{event.result.case.id}: {came_to(event.result)} ({event.seconds:.1f} s)")

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class Live(Quiet):
    """A line a running case, with its stage and how far it is."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[stage]}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case CaseStarted():
                label = f"[{event.index + 1}/{event.total}] {event.case_id}".replace("[", r"\[")
                self._tasks[event.case_id] = self._progress.add_task(
                    label, total=None, stage="start"
                )
            case StageEntered():
                self._progress.update(
                    self._tasks[event.case_id], stage=event.stage, total=None, completed=0
                )
            case StageProgress():
                self._progress.update(
                    self._tasks[event.case_id], total=event.total, completed=event.done
                )
            case Waiting() if event.reason:
                self._progress.update(self._tasks[event.case_id], stage=f"waits: {event.reason}")
            case Said():
                # Above the lines that come and go; a bracket is no markup.
                text = f"{event.case_id}: {event.text}"
                self._progress.console.print(text, markup=False, highlight=False)
            case CaseFinished():
                task = self._tasks.pop(event.result.case.id, None)
                if task is not None:
                    self._progress.remove_task(task)

    def refresh(self) -> None:
        """Draw now, rather than at the next of ten times a second."""
        self._progress.refresh()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the display and leave nothing of it."""
        self._progress.stop()


def display(*, quiet: bool, stream: TextIO | None = None) -> Quiet:
    """The display that fits: none where ``quiet``, live on a terminal outside CI, else plain."""
    stream = stream or sys.stderr
    if quiet:
        return Quiet()
    return Live(stream) if stream.isatty() and not in_ci() else Plain(stream)


def came_to(result: CaseResult) -> str:
    """A result before judging, in a few words."""
    if result.failure is not None:
        return f"{result.failure.kind} in stage {result.failure.stage}"
    if result.skipped is not None:
        return f"skipped: {result.skipped}"
    return _observed(result.observation)


def _observed(observation: Observation | None) -> str:
    if observation is None:
        return "no result"
    return f"observed on {observation.samples_evaluated} samples"
