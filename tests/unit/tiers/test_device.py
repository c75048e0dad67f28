from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gate.tiers.device import observe_rounds

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
    seen = observe_rounds({"a": Timed("A", log), "b": Timed("B", log)}, INPUTS, warmup=3, rounds=3)
    assert "".join(log) == "AAABBB" + "ABBA" + "BAAB" + "ABBA"
    assert [len(series) for side in seen.values() for series in (side.wall, side.cpu)] == [6] * 4


def test_three_models_are_each_first_middle_and_last_and_mirrored_in_every_round() -> None:
    log: list[str] = []
    sessions = {name: Timed(name, log) for name in "RCB"}
    observe_rounds(sessions, INPUTS, warmup=0, rounds=3)
    assert "".join(log) == "RCBBCR" + "CBRRBC" + "BRCCRB"


def test_times_are_those_of_each_side_and_cpu_time_sees_no_sleep() -> None:
    log: list[str] = []
    seen = observe_rounds(
        {"a": Timed("A", log, work=0.004), "b": Timed("B", log, sleep=0.012)},
        INPUTS,
        warmup=0,
        rounds=3,
    )
    assert min(seen["a"].cpu) >= 4e6
    assert min(seen["b"].wall) >= 12e6
    assert median(seen["b"].cpu) < 4e6


def test_the_collector_is_off_while_timing_and_back_on_after() -> None:
    states: list[bool] = []

    class Looks(Timed):
        def run(self, inputs: TensorMap) -> TensorMap:
            states.append(gc.isenabled())
            return super().run(inputs)

    observe_rounds({"a": Looks("A", []), "b": Looks("B", [])}, INPUTS, warmup=0, rounds=1)
    assert states == [False] * 4
    assert gc.isenabled()
