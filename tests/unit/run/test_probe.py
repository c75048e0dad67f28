"""Load times in the process that measures them: the shortest of several, and a limit to the effort."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gate.run.probe_child import LOADING_SECONDS, LOADS, shortest


class Opening:
    """Opens after the given seconds, one after the other, and the last from then on."""

    def __init__(self, *seconds: float) -> None:
        self._seconds: Sequence[float] = seconds
        self.opened = 0

    @contextmanager
    def __call__(self) -> Iterator[Any]:
        time.sleep(self._seconds[min(self.opened, len(self._seconds) - 1)])
        self.opened += 1
        yield self

    def run(self, inputs: Any) -> Any:
        return inputs


def test_a_disturbed_load_does_not_count() -> None:
    disturbed, calm = Opening(0.03, 0.002), Opening(0.004)
    one, other = shortest(disturbed, calm, inputs={})  # type: ignore[arg-type]

    assert 0.002 <= one.wall < 0.03
    assert other.wall >= 0.004
    assert disturbed.opened == calm.opened == LOADS


def test_long_loads_are_taken_once() -> None:
    slow, fast = Opening(LOADING_SECONDS * 1.05), Opening(0.0)
    found = shortest(slow, fast, inputs={})  # type: ignore[arg-type]

    assert (slow.opened, fast.opened) == (1, 1)
    assert found[0].wall >= LOADING_SECONDS


def test_cpu_time_sees_work_and_no_waiting() -> None:
    class Working(Opening):
        def run(self, inputs: Any) -> Any:
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            return inputs

    waiting, working = shortest(Opening(0.02), Working(0.0), inputs={})  # type: ignore[arg-type]

    assert waiting.cpu < 0.01 < waiting.wall
    assert 0.02 <= working.cpu <= working.wall + 1e-3
