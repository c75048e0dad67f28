"""The probe process: opens the candidate alone, says how large it got, then measures load times."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.tensors import TensorMap
from gate.run.companion import GO, READY
from gate.run.job import (
    PROBE_ANSWER_FILE,
    PROBE_FILE,
    ProbeAnswer,
    ProbeJob,
    read_record,
    write_record,
)
from gate.run.launch_child import opened, timed
from gate.run.loading import load_model
from gate.run.mutation import mutator_of

Open = Callable[[], AbstractContextManager[Session]]

LOADS = 5
LOADING_SECONDS = 0.25
"""Wall time after which models are loaded no more often to find the shortest time."""


def probe(work: Path, channel: int) -> None:
    """Do what the job in ``work`` asks for; answers on ``channel``, hears on the standard input."""
    job = read_record(work / PROBE_FILE, ProbeJob)
    inputs = {name: np.load(file, allow_pickle=False) for name, file in job.inputs.items()}
    backend: Backend = mutator_of(job.mutation).backend(
        plugins.load("backends", job.case.target.backend)
    )

    def candidate() -> AbstractContextManager[Session]:
        return backend.open_candidate(job.artifact, model=model, target=job.case.target)

    def reference() -> AbstractContextManager[Session]:
        loaded = load_model(job.case, job.reference_model)
        home: Backend = plugins.load("backends", job.reference_target.backend)
        return home.open_reference(loaded, target=job.reference_target)

    if job.reference_only:
        _seconds(reference, inputs)
        write_record(
            work / PROBE_ANSWER_FILE,
            ProbeAnswer(
                peak_memory_bytes=peak_resident_bytes(),
                load_seconds=0.0,
                reference_load_seconds=0.0,
                load_cpu_seconds=0.0,
                reference_load_cpu_seconds=0.0,
            ),
        )
        return
    model = load_model(job.case, job.candidate_model)
    _seconds(candidate, inputs)
    peak = peak_resident_bytes()
    # Once unmeasured: what happens only once in a process must not be on the account of one side.
    _seconds(reference, inputs)
    nothing: AbstractContextManager[Mapping[str, Session]] = nullcontext({})
    with nothing if job.launch is None else opened(job.launch) as sessions:
        os.write(channel, READY)
        if sys.stdin.buffer.readline() != GO:
            return  # the worker is gone
        own, other = shortest(candidate, reference, inputs=inputs)
        answer = ProbeAnswer(
            peak_memory_bytes=peak,
            load_seconds=own.wall,
            reference_load_seconds=other.wall,
            load_cpu_seconds=own.cpu,
            reference_load_cpu_seconds=other.cpu,
            launch=timed(job.launch, sessions) if job.launch is not None else None,
        )
    write_record(work / PROBE_ANSWER_FILE, answer)


def peak_resident_bytes() -> int:
    """Largest resident set of this process since it began to run its program.

    ``ru_maxrss`` would not do on Linux: it inherits the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True, slots=True)
class Seconds:
    """What a load took."""

    wall: float
    cpu: float
    """Of all threads of the process."""


def shortest(*sides: Open, inputs: TensorMap) -> tuple[Seconds, ...]:
    """What each side takes at best from nothing to the end of the first run, either clock by itself.

    The sides take turns, ``LOADS`` at most and none begun after ``LOADING_SECONDS``: other load only
    ever adds time, and short loads are those that it multiplies.
    """
    end = time.perf_counter() + LOADING_SECONDS
    taken = [tuple(_seconds(side, inputs) for side in sides)]
    while len(taken) < LOADS and time.perf_counter() < end:
        taken.append(tuple(_seconds(side, inputs) for side in sides))
    return tuple(
        Seconds(min(one.wall for one in own), min(one.cpu for one in own))
        for own in zip(*taken, strict=True)
    )


def _seconds(open_session: Open, inputs: TensorMap) -> Seconds:
    """From nothing to the end of the first run."""
    started, worked = time.perf_counter(), time.process_time()
    with open_session() as session:
        session.run(inputs)
        return Seconds(time.perf_counter() - started, time.process_time() - worked)
