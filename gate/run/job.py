"""What passes between the engine and a worker: one job file in, one answer file out.

Both are JSON. The answer carries the job's nonce and case, so that a file that someone else wrote,
or that was left by an earlier run, is told from this worker's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gate.core.artifact import Artifact, Format
from gate.core.baseline import Baseline
from gate.core.case import Case
from gate.core.convert import MalformedRecordError, from_json, to_json
from gate.core.observation import Observation, RunFailure
from gate.core.result import Planted
from gate.core.spec import TargetSpec
from gate.run.mutation import Mutation

JOB_FILE = "job.json"
ANSWER_FILE = "result.json"
PROBE_FILE = "probe.json"
PROBE_ANSWER_FILE = "probe-result.json"
LAUNCH_FILE = "launch.json"
LAUNCH_ANSWER_FILE = "launch-result.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashedProbe:
    """One side of a hostile probe that ended a worker: known, and not to be tried again."""

    probe: str
    side: str
    """``reference`` or ``candidate``."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One case to observe."""

    case: Case
    nonce: str
    cache_dir: Path
    cache_bytes: int
    lock_dir: Path
    """Where workers of one run arrange who may time."""
    jobs: int
    """Workers at the same time; with one there is nobody to arrange with."""
    mutation: Mutation | None = None
    """What a drill changes in this run; None for every other run."""
    baselines_dir: Path | None = None
    """Where to look for the baseline whose artifact is timed beside the candidate; None: nowhere."""
    artifacts_dir: Path | None = None
    """Where accepted artifacts are kept; None: nowhere."""
    accepted: Baseline | None = None
    """The baseline itself, where it lies in no folder."""
    pictures: bool = True
    """Keep small pictures of samples that flip, where inputs are images."""
    reference_memory: bool = False
    """Also measure the reference in a process of its own."""
    keep_candidates: Path | None = None
    given_candidates: Path | None = None
    crashed_probes: tuple[CrashedProbe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker writes: an observation or a failure."""

    nonce: str
    case_id: str
    observation: Observation | None = None
    failure: RunFailure | None = None
    planted: Planted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A float model that lives in a file; a probe opens it without its source."""

    format: Format
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchJob:
    """The models of a case, to be timed in turns in one fresh process."""

    number: int
    """Index of the launch; it turns the order in which the models are opened."""
    case: Case
    candidate_model: ModelFile | None
    """The float model that the candidate is opened with; None: built by its source."""
    reference_model: ModelFile | None
    """None: built by its source."""
    reference_target: TargetSpec
    artifact: Artifact
    base: Artifact | None
    """The baseline's own artifact; None where it is not timed."""
    inputs: dict[str, Path]
    """Input name -> ``.npy`` file of one batch."""
    mutation: Mutation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One model's runs in nanoseconds, in order."""

    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAnswer:
    """What a launch measured; ``base`` is None where there was none, or none that runs."""

    reference: Times
    candidate: Times
    base: Times | None
    base_error: str = ""
    """Why the base that was given does not run; empty where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """Both sides of a case, to be opened and run alone for memory and load time."""

    case: Case
    candidate_model: ModelFile | None
    """The float model that the candidate is opened with; None: built by its source."""
    reference_model: ModelFile | None
    """None: built by its source."""
    reference_target: TargetSpec
    artifact: Artifact
    inputs: dict[str, Path]
    """Input name -> ``.npy`` file of one batch."""
    mutation: Mutation | None = None
    reference_only: bool = False
    """Open the reference in place of the candidate, and measure nothing but memory."""
    launch: LaunchJob | None = None
    """Rounds to take at the end: a fresh process of its own is not needed for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """What a probe saw."""

    peak_memory_bytes: int
    load_seconds: float
    reference_load_seconds: float
    load_cpu_seconds: float
    reference_load_cpu_seconds: float
    launch: LaunchAnswer | None = None


def write_record(path: Path, record: object) -> None:
    """Write a record as JSON, so that a reader sees all of it or none.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, to_json(record))


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step."""
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_record(path: Path, kind: type[T]) -> T:
    """Read what :func:`write_record` wrote.

    Raises:
        MalformedRecordError: not JSON, or not a ``kind``.
        OSError: no such file, or it cannot be read.
    """
    raw = path.read_bytes()
    try:
        return from_json(kind, raw)
    except MalformedRecordError as error:
        raise MalformedRecordError(f"{path.name}: {error}") from error
