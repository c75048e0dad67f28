"""The worker: ``python -m gate.run.worker WORK EVENTS LIFELINE``, started by the engine alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from gate.core.observation import Observation, RunFailure
from gate.run.announce import Announcer
from gate.run.job import ANSWER_FILE, JOB_FILE, Answer, Job, read_record, write_record
from gate.run.mutation import MutationError, Mutator, mutator_of
from gate.run.output import last_of


def main(arguments: list[str]) -> None:
    """Run the job in a folder and write its answer beside it. Does not return."""
    if arguments[0] == "--companion":
        from gate.run.companion_child import serve

        serve(arguments[1])
        _leave(0)
    work, events, lifeline = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    for descriptor in (events, lifeline):
        os.set_inheritable(descriptor, False)
    threading.Thread(target=_die_with_engine, args=(lifeline,), daemon=True).start()
    job = read_record(work / JOB_FILE, Job)
    announcer = Announcer(events)
    try:
        mutator = mutator_of(job.mutation)
        outcome = _run(job, work, announcer, mutator)
        try:
            _write(job, work, outcome, mutator)
        except ValueError as error:  # a number that JSON has no word for
            message = f"the observation cannot be written: {error}"
            failure = RunFailure(kind="crash", stage=announcer.stage, message=message)
            _write(job, work, failure, mutator)
    except OSError as error:  # a full disk: neither the result nor the log takes it
        announcer.last_words(f"the result cannot be written: {error}")
        os._exit(1)
    _leave(0)


def _run(job: Job, work: Path, announcer: Announcer, mutator: Mutator) -> Observation | RunFailure:
    """Observe the case; whatever is raised becomes a failure that names the stage."""
    # Imported here: the engine's faults are told by a stage even where imports are what fails.
    from gate.backends.base import BackendError
    from gate.data.base import DataError
    from gate.models.base import ModelError
    from gate.quantize.base import QuantizeError
    from gate.run.cache import CacheError
    from gate.run.observe import observe
    from gate.spec.entries import EntryError
    from gate.tiers.numerical import OutputError

    refusals = (
        BackendError,
        CacheError,
        DataError,
        EntryError,
        ModelError,
        OutputError,
        QuantizeError,
    )
    try:
        return observe(job, work=work, announcer=announcer, mutator=mutator)
    except MutationError as error:
        return RunFailure(kind=error.kind, stage=announcer.stage, message=str(error))
    except refusals as error:
        return RunFailure(kind="refused", stage=announcer.stage, message=str(error))
    except MemoryError as error:
        return RunFailure(
            kind="memory", stage=announcer.stage, message=f"out of memory: {error or 'refused'}"
        )
    except Exception as error:  # noqa: BLE001 - the engine reports it; nothing is hidden
        told = traceback.format_exc()
        sys.stderr.write(told)
        return RunFailure(
            kind="crash",
            stage=announcer.stage,
            message=f"{type(error).__name__}: {error}",
            last_output=last_of(told),
        )


def _write(job: Job, work: Path, outcome: Observation | RunFailure, mutator: Mutator) -> None:
    answer = Answer(
        nonce=job.nonce,
        case_id=job.case.id,
        observation=outcome if isinstance(outcome, Observation) else None,
        failure=outcome if isinstance(outcome, RunFailure) else None,
        planted=mutator.planted,
    )
    write_record(work / ANSWER_FILE, answer)


def _die_with_engine(lifeline: int) -> None:
    """End this process group when the engine's end of the pipe closes, however that came about."""
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _leave(code: int) -> None:
    """End without tearing libraries down: that takes time, and some crash in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
