"""The process of one launch: opens the models of a case, then times them in turns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.artifact import Artifact
from gate.run.companion import GO, READY
from gate.run.job import (
    LAUNCH_ANSWER_FILE,
    LAUNCH_FILE,
    LaunchAnswer,
    LaunchJob,
    Times,
    read_record,
    write_record,
)
from gate.run.loading import load_model
from gate.run.mutation import mutator_of
from gate.tiers.device import Side, observe_rounds

Open = Callable[[], AbstractContextManager[Session]]


def launch(folder: Path, channel: int) -> None:
    """Do what the job in ``folder`` asks for; answers on ``channel``, hears on the standard input."""
    job = read_record(folder / LAUNCH_FILE, LaunchJob)
    with opened(job) as sessions:
        os.write(channel, READY)
        if sys.stdin.buffer.readline() != GO:
            return  # the worker is gone
        answer = timed(job, sessions)
    write_record(folder / LAUNCH_ANSWER_FILE, answer)


@contextmanager
def opened(job: LaunchJob) -> Iterator[Mapping[str, Session]]:
    """Every model of the job by its role, opened in an order that turns from launch to launch."""
    openers = _openers(job)
    names = list(openers)
    turn = job.number % len(names)
    with ExitStack() as stack:
        found = {name: stack.enter_context(openers[name]()) for name in names[turn:] + names[:turn]}
        yield {name: found[name] for name in names}


def timed(job: LaunchJob, sessions: Mapping[str, Session]) -> LaunchAnswer:
    """Take the rounds of one launch."""
    run = job.case.run
    inputs = {name: np.load(file, allow_pickle=False) for name, file in job.inputs.items()}
    sides = observe_rounds(sessions, inputs, warmup=run.timing_warmup, rounds=run.timing_rounds)
    return LaunchAnswer(
        reference=_times(sides["reference"]),
        candidate=_times(sides["candidate"]),
        base=_times(sides["base"]) if "base" in sides else None,
    )


def _openers(job: LaunchJob) -> dict[str, Open]:
    """How to open each model; a float model that two of them need is loaded once."""
    target = job.case.target
    healthy: Backend = plugins.load("backends", target.backend)
    changed = mutator_of(job.mutation).backend(healthy)
    home: Backend = plugins.load("backends", job.reference_target.backend)
    model = load_model(job.case, job.candidate_model)
    shared = job.reference_model == job.candidate_model
    reference = model if shared else load_model(job.case, job.reference_model)

    def candidate(artifact: Artifact, backend: Backend) -> Open:
        return lambda: backend.open_candidate(artifact, model=model, target=target)

    openers: dict[str, Open] = {
        "reference": lambda: home.open_reference(reference, target=job.reference_target),
        "candidate": candidate(job.artifact, changed),
    }
    if job.base is not None:
        openers["base"] = candidate(job.base, healthy)
    return openers


def _times(side: Side) -> Times:
    return Times(wall_ns=tuple(side.wall), cpu_ns=tuple(side.cpu))
