"""Device tier: latency of several models, taken in turns in one process."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.backends.base import Session
from gate.core.tensors import TensorMap

RUNS_PER_ROUND = 2
"""A round runs every model forwards and backwards, so that a drift of the machine meets all alike."""


@dataclass(slots=True)
class Side:
    """One model and its times in nanoseconds, one a run: monotonic time, and CPU time of all
    threads of this process."""

    session: Session
    inputs: TensorMap
    wall: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)

    def warm_up(self, runs: int) -> None:
        """Run without counting."""
        for _ in range(runs):
            self.session.run(self.inputs)

    def measure(self) -> None:
        """Run once and keep the times."""
        # Inputs stay the same arrays and outputs are dropped, so a run is all that is timed.
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self.session.run(self.inputs)
        now = time.perf_counter_ns()
        self.cpu.append(time.process_time_ns() - cpu)
        self.wall.append(now - wall)


def observe_rounds(
    sessions: Mapping[str, Session], inputs: TensorMap, *, warmup: int, rounds: int
) -> dict[str, Side]:
    """Time single runs of all models in one process.

    A round runs them in some order and then in the reverse of it; from round to round the order is
    turned on by one: with two models A B B A, B A A B, A B B A ...

    Args:
        sessions: the models by name.
        inputs: one batch, run again and again.
        warmup: runs of each that are not counted.
        rounds: how many rounds; each gives two times a model, in order.
    """
    sides = {name: Side(session, inputs) for name, session in sessions.items()}
    for side in sides.values():
        side.warm_up(warmup)
    order = list(sides.values())
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for side in (*order, *reversed(order)):
                side.measure()
            order = [*order[1:], order[0]]
    finally:
        if enabled:
            gc.enable()
    return sides
