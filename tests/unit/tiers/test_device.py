from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gate.tiers.device import observe_timing

if TYPE_CHECKING:
    from gate.core.tensors import TensorMap

INPUTS = {"x": np.zeros((3, 2), np.float32)}


class Timed:
    """A session that takes its time and keeps a log."""

    def __init__(self, name: str, log: list[str], work: float = 0.0, sleep: float = 0.0) -> None:
        self.name, self.log, self.work, self.pause = name, log, work, sleep

    def run(self, inputs: TensorMap) -> TensorMap:
        assert inputs is INPUTS
        self.log.append(self.name)
        if self.pause:
            time.sleep(self.pause)
        end = time.process_time() + self.work
        while time.process_time() < end:
            pass
        return {}


def test_rounds_turn_their_order_after_the_warm_up() -> None:
    log: list[str] = []
    ticks: list[int] = []
    seen = observe_timing(
        Timed("A", log), Timed("B", log), INPUTS, warmup=3, rounds=5, tick=ticks.append
    )
    assert "".join(log) == "AAABBB" + "ABBAABBAAB"
    assert ticks == [1, 2, 3, 4, 5]
    assert (seen.batch, seen.warmup_rounds) == (3, 3)
    series = (
        seen.reference_wall_ns,
        seen.candidate_wall_ns,
        seen.reference_cpu_ns,
        seen.candidate_cpu_ns,
    )
    assert all(len(values) == 5 for values in series)


def test_times_are_those_of_each_side_and_cpu_time_sees_no_sleep() -> None:
    log: list[str] = []
    seen = observe_timing(
        Timed("A", log, work=0.004),
        Timed("B", log, sleep=0.012),
        INPUTS,
        warmup=0,
        rounds=6,
        tick=lambda _done: None,
    )
    assert min(seen.reference_cpu_ns) >= 4e6
    assert min(seen.candidate_wall_ns) >= 12e6
    assert median(seen.candidate_cpu_ns) < 4e6


def test_the_collector_is_off_while_timing_and_back_on_after() -> None:
    states: list[bool] = []

    class Looks(Timed):
        def run(self, inputs: TensorMap) -> TensorMap:
            states.append(gc.isenabled())
            return super().run(inputs)

    observe_timing(
        Looks("A", []), Looks("B", []), INPUTS, warmup=0, rounds=2, tick=lambda _done: None
    )
    assert states == [False] * 4
    assert gc.isenabled()
