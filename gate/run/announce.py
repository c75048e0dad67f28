"""The worker's side of its pipe to the engine: stages, progress, waiting, as JSON lines."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PROGRESS_SECONDS = 0.1


class Announcer:
    """Writes announcements; without a descriptor it only keeps the clock of the stages."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._stage = "start"
        self._since = time.monotonic()
        self._said = 0.0
        self._waited = 0.0
        self.seconds: dict[str, float] = {}
        """Wall seconds of each stage that has ended, waiting left out."""

    @property
    def stage(self) -> str:
        """The stage that runs now."""
        return self._stage

    def enter(self, stage: str) -> None:
        """End the stage before and begin this one."""
        self.finish()
        self._stage = stage
        self._send({"stage": stage})

    def finish(self) -> None:
        """End the current stage's clock."""
        now = time.monotonic()
        spent = now - self._since - self._waited
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent
        self._since, self._waited = now, 0.0

    def progress(self, total: int) -> Callable[[int], None]:
        """A function that announces how many of ``total`` are done, seldom in between."""
        stage = self._stage

        def tick(done: int) -> None:
            now = time.monotonic()
            if done in {0, total} or now - self._said >= PROGRESS_SECONDS:
                self._said = now
                self._send({"stage": stage, "done": done, "total": total})

        return tick

    def cache(self, kind: str, *, hit: bool) -> None:
        """Say whether something was taken from the cache."""
        self._send({"cache": kind, "hit": hit})

    def say(self, text: str) -> None:
        """Tell the user something while the case runs; it belongs into the notes too."""
        self._send({"said": text})

    def last_words(self, message: str) -> None:
        """Say why there will be no answer, where nothing can be written to a file."""
        self._send({"last words": message})

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """Stop the clocks, here and in the engine, while waiting for another worker."""
        started = time.monotonic()
        self._send({"waiting": reason})
        try:
            yield
        finally:
            self._waited += time.monotonic() - started
            self._send({"waiting": ""})

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
