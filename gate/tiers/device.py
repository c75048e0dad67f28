"""Device tier: latency of reference and candidate, taken in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gate.backends.base import Session
from gate.core.observation import TimingObserved
from gate.core.tensors import TensorMap


@dataclass(slots=True)
class _Side:
    """One model and its times."""

    session: Session
    inputs: TensorMap
    wall: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)

    def warm_up(self, runs: int) -> None:
        for _ in range(runs):
            self.session.run(self.inputs)

    def measure(self) -> None:
        # Inputs stay the same arrays and outputs are dropped, so a run is all that is timed.
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self.session.run(self.inputs)
        now = time.perf_counter_ns()
        self.cpu.append(time.process_time_ns() - cpu)
        self.wall.append(now - wall)


def observe_timing(
    reference: Session,
    candidate: Session,
    inputs: TensorMap,
    *,
    warmup: int,
    rounds: int,
    tick: Callable[[int], None],
) -> TimingObserved:
    """Time single runs of both models in one process.

    A round is one run of each; the order turns from round to round (A B, B A, A B ...), so that two
    rounds are an A B B A block and a drift of the machine meets both alike. Wall time is monotonic
    time; CPU time is that of all threads of this process.

    Args:
        reference: A, the floating-point model.
        candidate: B, the quantized model.
        inputs: one batch, run again and again.
        warmup: runs of each that are not counted.
        rounds: how many rounds.
        tick: called now and then with the number of rounds so far; its time is not counted.
    """
    a, b = _Side(reference, inputs), _Side(candidate, inputs)
    a.warm_up(warmup)
    b.warm_up(warmup)
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            for side in (a, b) if index % 2 == 0 else (b, a):
                side.measure()
            tick(index + 1)
    finally:
        if enabled:
            gc.enable()
    return TimingObserved(
        batch=len(next(iter(inputs.values()))),
        warmup_rounds=warmup,
        reference_wall_ns=tuple(a.wall),
        candidate_wall_ns=tuple(b.wall),
        reference_cpu_ns=tuple(a.cpu),
        candidate_cpu_ns=tuple(b.cpu),
    )
