"""From the way a worker ended to the result of its case: its own answer, or a failure."""

from __future__ import annotations

import signal
from pathlib import Path

from gate.core.case import Case
from gate.core.convert import MalformedRecordError
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.job import Answer, Job, read_record
from gate.run.process import Ended

MESSAGE_CHARACTERS = 2000


def result_of(job: Job, ended: Ended, answer_file: Path) -> CaseResult:
    """The result of a case whose worker has ended; a result file counts only after a clean end."""
    found = _failure_of(ended, job.case) or _read(job, answer_file)
    if isinstance(found, Answer):
        return CaseResult(
            case=job.case,
            observation=found.observation,
            failure=found.failure,
            planted=found.planted,
        )
    kind, message = found
    failure = RunFailure(
        kind=kind,
        stage=ended.stage,
        message=message[:MESSAGE_CHARACTERS],
        last_output=ended.last_output,
    )
    return CaseResult(case=job.case, failure=failure)


def _failure_of(ended: Ended, case: Case) -> tuple[str, str] | None:
    """(kind, message) of a failure that the way of ending is by itself."""
    taken = f"{ended.peak_bytes / 2**20:.0f} MiB"
    limit = f"{case.run.memory_bytes / 2**20:.0f} MiB"
    if ended.killed is not None:
        why = {
            "timeout": f"no result within {case.run.timeout_seconds:g} s (run.timeout); ended",
            "memory": f"the worker took {taken}, more than run.memory of {limit}; ended",
            "interrupted": "interrupted while it ran",
        }
        return ended.killed, why[ended.killed]
    if ended.returncode == -signal.SIGKILL:
        return "memory", (
            "killed by SIGKILL from outside, as the kernel does when memory runs out; "
            f"the worker had taken {taken}"
        )
    if ended.returncode < 0:
        return "crash", f"the worker was ended by {_signal_name(-ended.returncode)}"
    if ended.returncode > 0:
        return "crash", f"the worker ended with exit code {ended.returncode}"
    return None


def _read(job: Job, path: Path) -> Answer | tuple[str, str]:
    """The worker's answer, or (kind, message) of what is wrong with it."""
    try:
        answer = read_record(path, Answer)
    except FileNotFoundError:
        return "no-result", "the worker ended with exit code 0 but wrote no result"
    except (OSError, MalformedRecordError) as error:
        return "no-result", f"the worker's result cannot be read: {error}"
    observed = answer.observation
    if answer.nonce != job.nonce or answer.case_id != job.case.id:
        return "forged", "the result file was not written by this case's worker"
    if observed is not None and observed.case_id != job.case.id:
        return "forged", "the observation belongs to another case"
    if (observed is None) == (answer.failure is None):
        return "forged", "the result holds not exactly one of an observation and a failure"
    return answer


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
