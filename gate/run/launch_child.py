"""The process of one launch: opens the models of a case, then times them in turns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.artifact import Artifact
from gate.core.tensors import TensorMap
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

BASE = "base"


def launch(folder: Path, channel: int) -> None:
    """Do what the job in ``folder`` asks for; answers on ``channel``, hears on the standard input."""
    job = read_record(folder / LAUNCH_FILE, LaunchJob)
    faults: dict[str, str] = {}
    with opened(job, faults) as sessions:
        os.write(channel, READY)
        if sys.stdin.buffer.readline() != GO:
            return  # the worker is gone
        answer = replace(timed(job, sessions), base_error=faults.get(BASE, ""))
    write_record(folder / LAUNCH_ANSWER_FILE, answer)


@contextmanager
def opened(job: LaunchJob, faults: dict[str, str] | None = None) -> Iterator[Mapping[str, Session]]:
    """Every model of the job by its role, opened in an order that turns from launch to launch.

    The base was accepted once, by other versions perhaps: where it does not open or run any more it
    is left out, and ``faults`` takes the reason.
    """
    openers = _openers(job)
    names = list(openers)
    turn = job.number % len(names)
    found: dict[str, Session] = {}
    with ExitStack() as stack:
        for name in names[turn:] + names[:turn]:
            try:
                session = stack.enter_context(openers[name]())
                if name == BASE:
                    session.run(_inputs(job))
            except Exception as error:  # a file from before may fail in any way that runtimes have
                if name != BASE or faults is None:
                    raise
                faults[name] = _said(error, job.base)
            else:
                found[name] = session
        yield {name: found[name] for name in names if name in found}


def timed(job: LaunchJob, sessions: Mapping[str, Session]) -> LaunchAnswer:
    """Take the rounds of one launch."""
    run = job.case.run
    sides = observe_rounds(
        sessions, _inputs(job), warmup=run.timing_warmup, rounds=run.timing_rounds
    )
    return LaunchAnswer(
        reference=_times(sides["reference"]),
        candidate=_times(sides["candidate"]),
        base=_times(sides[BASE]) if BASE in sides else None,
    )


def _said(error: Exception, base: Artifact | None) -> str:
    """The reason, without the way to where such files are kept."""
    text = str(error) or type(error).__name__
    return text if base is None else text.replace(str(base.path), base.path.name)


def _inputs(job: LaunchJob) -> TensorMap:
    return {name: np.load(file, allow_pickle=False) for name, file in job.inputs.items()}


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
        openers[BASE] = candidate(job.base, healthy)
    return openers


def _times(side: Side) -> Times:
    return Times(wall_ns=tuple(side.wall), cpu_ns=tuple(side.cpu))
