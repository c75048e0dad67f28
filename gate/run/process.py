"""One worker process under watch: its stages, its clock, its memory, its end.

The worker is the leader of a session of its own, so that ending it ends whatever it started. What
it prints goes to a file; what it announces comes over a pipe of its own, which printing cannot
reach.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from gate.run.output import bound_size, last_lines, last_of

TICK_SECONDS = 0.05
MESSAGE_BYTES = 64 * 1024
"""A longer line is no announcement; it is dropped."""

Killed = Literal["timeout", "memory", "interrupted"]


class Cancel:
    """Asks every worker to end; a second time means at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._insisted = threading.Event()

    def __call__(self) -> None:
        """Ask, or insist where it was asked before."""
        (self._insisted if self._asked.is_set() else self._asked).set()

    @property
    def asked(self) -> bool:
        """True after the first call."""
        return self._asked.is_set()

    @property
    def insisted(self) -> bool:
        """True after the second call."""
        return self._insisted.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a worker came to its end."""

    returncode: int
    """As ``subprocess`` gives it: negative for a signal."""
    killed: Killed | None
    """Set where the watch ended it."""
    stage: str
    peak_bytes: int
    """Largest resident set of the whole process tree that was seen."""
    last_output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker may take."""

    seconds: float
    """Wall time, without the time spent in announced waiting."""
    memory_bytes: int
    grace_seconds: float


class Watch:
    """Starts one worker and follows it to its end; ``run`` blocks."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        limits: Limits,
        cancel: Cancel,
        on_message: Callable[[dict[str, Any]], None],
    ) -> None:
        self._command = command
        self._env = env
        self._log = log
        self._limits = limits
        self._cancel = cancel
        self._on_message = on_message
        self._stage = "start"
        self._last_words = ""
        self._buffer = b""
        self._waiting_since: float | None = None
        self._waited = 0.0
        self._killed: Killed | None = None

    def run(self) -> Ended:
        """Start the worker, wait for its end, leave nothing of it behind.

        Raises:
            OSError: the worker cannot be started or its log cannot be written.
        """
        events, events_end = os.pipe()
        # The worker reads the other pipe and dies at its end: also when this process is killed.
        lifeline_end, lifeline = os.pipe()
        try:
            with self._log.open("ab", buffering=0) as log:
                process = subprocess.Popen(  # noqa: S603 - the caller's own command
                    [*self._command, str(events_end), str(lifeline_end)],
                    env=dict(self._env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(events_end, lifeline_end),
                )
        except BaseException:
            for descriptor in (events, events_end, lifeline_end, lifeline):
                os.close(descriptor)
            raise
        os.close(events_end)
        os.close(lifeline_end)
        tree = ProcessTree(process.pid)
        try:
            self._follow(process, events, tree)
        finally:
            tree.kill()
            os.close(lifeline)
            os.close(events)
            returncode = process.wait()
        return Ended(
            returncode=returncode,
            killed=self._killed,
            stage=self._stage,
            peak_bytes=tree.peak,
            last_output=last_of(f"{last_lines(self._log)}\n{self._last_words}"),
        )

    def _follow(self, process: subprocess.Popen[bytes], events: int, tree: ProcessTree) -> None:
        started = time.monotonic()
        asked_at: float | None = None
        open_pipe = True
        while not _ended(process.pid):
            if open_pipe and select.select([events], [], [], TICK_SECONDS)[0]:
                open_pipe = self._read(events)
            elif not open_pipe:
                time.sleep(TICK_SECONDS / 5)
            bound_size(self._log)
            now = time.monotonic()
            waiting = now - self._waiting_since if self._waiting_since is not None else 0.0
            if self._cancel.asked:
                if asked_at is None:
                    asked_at, self._killed = now, "interrupted"
                    tree.terminate()
                elif self._cancel.insisted or now - asked_at > self._limits.grace_seconds:
                    return
            elif now - started - self._waited - waiting > self._limits.seconds:
                self._killed = "timeout"
                return
            elif tree.measure() > self._limits.memory_bytes:
                self._killed = "memory"
                return
        while open_pipe and select.select([events], [], [], 0)[0]:
            open_pipe = self._read(events)

    def _read(self, events: int) -> bool:
        data = os.read(events, MESSAGE_BYTES)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MESSAGE_BYTES:
            self._buffer = b""
        for line in lines:
            self._understand(line)
        return bool(data)

    def _understand(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return  # not from the worker's own reporter; announcements decide nothing
        if not isinstance(message, dict):
            return
        if isinstance(stage := message.get("stage"), str):
            self._stage = stage
        if isinstance(words := message.get("last words"), str):
            self._last_words = words
        if "waiting" in message:
            now = time.monotonic()
            if self._waiting_since is not None:
                self._waited += now - self._waiting_since
            self._waiting_since = now if message["waiting"] else None
        self._on_message(message)


class ProcessTree:
    """A process, what it started, and their resident memory."""

    RELIST_SECONDS = 0.5
    """Listing descendants reads the whole process table; in between, the known ones are measured."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._children: list[psutil.Process] = []
        self._listed = 0.0
        self.peak = 0

    def measure(self) -> int:
        """Sum of the resident sets now, in bytes; shared pages count once a process."""
        now = time.monotonic()
        if now - self._listed > self.RELIST_SECONDS:
            self._listed = now
            self._list()
        total = sum(_resident(process) for process in (self._root, *self._children))
        self.peak = max(self.peak, total)
        return total

    def terminate(self) -> None:
        """Ask the whole group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group, and descendants that left it. The root is not reaped yet, so its
        number cannot belong to anybody else."""
        self._list()
        self._signal(signal.SIGKILL)
        for child in self._children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue

    def _list(self) -> None:
        known = {child.pid: child for child in self._children}
        try:
            for child in self._root.children(recursive=True):
                known.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            return
        self._children = [child for child in known.values() if child.is_running()]

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._root.pid, number)
        except ProcessLookupError:
            return  # nothing of the group is left


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0  # it ended between two looks


def _ended(pid: int) -> bool:
    """Whether the child has ended, without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
