"""Starts the process that localises: it takes a case's models apart outside the order of a run.

Like a worker it is a process of its own: a runtime that crashes on a layer that was cut out of its
model ends that process, and no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gate.core.case import Case
from gate.core.convert import MalformedRecordError
from gate.run.job import read_record, write_record
from gate.run.sensitivity import Found

JOB = "job.json"
ANSWER = "answer.json"
REPRODUCE_SECONDS = 90.0
"""Limit of a reproduction: opening two models, and one run of each."""


class LocaliseError(Exception):
    """The process came to nothing; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaliseJob:
    """What is asked for."""

    case: Case
    cache_dir: Path | None
    layer: str | None = None
    """Layer to write a reproduction of; None for none."""
    save: Path | None = None
    """Folder of the reproduction."""
    budget_seconds: float = 0.0
    """For ranking layers and finding a set that passes; 0 for neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """A search, and what it means for the spec."""

    found: Found
    samples: int
    """Evaluation samples that the search looked at."""
    fragment: str = ""
    """YAML: the quantization with ``keep_float``; empty where no set was found or none is needed."""
    verified: bool = False
    """True where the fragment's candidate was made as a run makes it, and all evaluation samples
    hold the numerical tolerances."""
    remark: str = ""
    """What speaks against it, or what was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Localised:
    """What came of it."""

    folder: Path | None = None
    """Of the reproduction."""
    why_no_folder: str = ""
    sensitivity: Sensitivity | None = None
    why_no_ranking: str = ""
    notes: tuple[str, ...] = field(default=())


def localise(
    job: LocaliseJob, *, seconds: float | None = None, say: Callable[[str], None] | None = None
) -> Localised:
    """Run the job in a process of its own.

    Args:
        job: what to do.
        seconds: limit on its wall time; None for the case's own.
        say: told what it is doing, line by line; None to keep it quiet.

    Raises:
        LocaliseError: it refused, crashed or ran out of time.
    """
    limit = job.case.run.timeout_seconds + job.budget_seconds if seconds is None else seconds
    with tempfile.TemporaryDirectory(prefix="gate-localise-") as folder:
        work = Path(folder)
        write_record(work / JOB, job)
        command = [sys.executable, "-m", "gate.run.localise_child", str(work)]
        threads = str(job.case.target.threads)
        with (work / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - this package's own module
                command,
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            _follow(process, say)
            process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            raise LocaliseError(f"not done within {limit:.0f} s") from None
        finally:
            process.kill()
            process.wait()
        try:
            return read_record(work / ANSWER, Localised)
        except (OSError, MalformedRecordError):
            told = (work / "log").read_text(encoding="utf-8", errors="replace").strip()
            last = told.splitlines()[-1] if told else f"exit code {process.returncode}"
            raise LocaliseError(last) from None


def _follow(process: subprocess.Popen[str], say: Callable[[str], None] | None) -> None:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    for line in process.stdout:
        if say is not None:
            say(line.rstrip("\n"))
