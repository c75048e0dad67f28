"""Runs on disk: one folder a run, one result file a case, written as they come.

.gate/runs/<time>-<id>/run.json           what was planned
.gate/runs/<time>-<id>/plan.json          the whole plan, where the run is one shard of it
.gate/runs/<time>-<id>/results/<case>.json
.gate/runs/<time>-<id>/flips/<case>.json   samples that flipped, where any did
.gate/runs/<time>-<id>/logs/<case>.log
.gate/runs/<time>-<id>/choices/<case>.yaml   what a ladder or search came to; its front beside it
.gate/runs/<time>-<id>/repro/<case>/   the first bad layer of a failed case, to run by itself
.gate/runs/latest                         the newest run
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from gate import __version__
from gate.core.case import Case, NotApplicable
from gate.core.convert import MalformedRecordError, to_json
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.job import read_record, write_record, write_whole
from gate.run.locks import FileLock
from gate.run.settings import InfrastructureError
from gate.run.shards import Part, PlanRecord, ShardRecord

RUN_FILE = "run.json"
PLAN_FILE = "plan.json"
RUNS_KEPT = 10
RUN_SCHEMA = 1


class StoredRunError(Exception):
    """A folder that is no run, or one whose files are broken; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run set out to do, written before its first worker starts."""

    schema: int = RUN_SCHEMA
    gate_version: str
    started: str
    """ISO 8601, UTC."""
    cases: tuple[Case, ...]
    not_applicable: tuple[NotApplicable, ...] = ()
    shard: ShardRecord | None = None
    """Set where ``cases`` are a part of a plan; the whole is in ``plan.json`` beside it."""


def create_run(runs: Path) -> Path:
    """Make the folder of a new run below ``runs``, point ``latest`` at it, prune old runs.

    Raises:
        InfrastructureError: the folder cannot be written.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    directory = runs / name
    try:
        directory.mkdir(parents=True)
        pointer = runs / f".latest-{name}"
        pointer.symlink_to(name)
        pointer.replace(runs / "latest")
        _prune(runs)
    except OSError as error:
        raise InfrastructureError(f"{directory}: cannot be written: {error.strerror}") from error
    return directory


def run_folder(out: Path | None, root: Path) -> Path:
    """The folder of a new run: ``out`` where it is named, else one among the runs of a project.

    Raises:
        InfrastructureError: as :func:`use_run` and :func:`create_run`.
    """
    return create_run(root / ".gate" / "runs") if out is None else use_run(out)


def use_run(directory: Path) -> Path:
    """Make ``directory`` the folder of a new run; an earlier run in it is replaced.

    Raises:
        InfrastructureError: it cannot be written, or holds something that is no run.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not (directory / RUN_FILE).is_file():
            raise InfrastructureError(
                f"{directory}: is neither empty nor an earlier run; name another folder"
            )
        lock = FileLock(directory / "run.lock")
        free = not (directory / RUN_FILE).is_file() or lock.try_acquire()
        if not free:
            lock.release()
            raise InfrastructureError(
                f"{directory}: another run is going on in it; wait for it, or name another folder"
            )
        for old in ("results", "flips", "logs", "choices", "repro", "work"):
            if (directory / old).exists():
                shutil.rmtree(directory / old)
        lock.release()
    except OSError as error:
        raise InfrastructureError(f"{directory}: cannot be written: {error.strerror}") from error
    return directory


class RunStore:
    """The folder of one run while it is going on."""

    def __init__(
        self,
        directory: Path,
        cases: Sequence[Case],
        *,
        not_applicable: Sequence[NotApplicable] = (),
        part: Part | None = None,
        written: Sequence[bytes] | None = None,
    ) -> None:
        """Raises InfrastructureError where the folder cannot be written.

        ``written`` is what ``to_json`` makes of each case, for who has read it.
        """
        self.directory = directory
        self._lock = FileLock(directory / "run.lock")
        try:
            for name in ("results", "logs", "work"):
                (directory / name).mkdir(parents=True, exist_ok=True)
            self._lock.acquire(shared=True)
            record = RunRecord(
                gate_version=__version__,
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                cases=tuple(cases) if written is None else (),
                not_applicable=tuple(not_applicable),
                shard=part.record if part is not None else None,
            )
            (directory / PLAN_FILE).unlink(missing_ok=True)
            if part is not None:
                whole = PlanRecord(cases=part.whole.cases, not_applicable=part.whole.not_applicable)
                write_record(directory / PLAN_FILE, whole)
            content = to_json(record)
            if written is not None:
                content = content.replace(
                    b'"cases":[]', b'"cases":[' + b",".join(written) + b"]", 1
                )
            write_whole(directory / RUN_FILE, content)
        except OSError as error:
            raise _unwritable(directory, error) from error

    def save(self, result: CaseResult) -> None:
        """Write one result; raises InfrastructureError where that is impossible."""
        try:
            write_record(result_path(self.directory, result.case.id), result)
        except OSError as error:
            raise _unwritable(self.directory, error) from error

    def log(self, case_id: str) -> Path:
        """Where a case's worker prints."""
        return self.directory / "logs" / f"{escaped(case_id)}.log"

    def make_work_dir(self, case_id: str) -> Path:
        """An empty folder for a case's working files."""
        path = self.directory / "work" / escaped(case_id)
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(self.directory, error) from error
        return path

    def close(self) -> None:
        """Remove the working files and let go of the folder."""
        shutil.rmtree(self.directory / "work", ignore_errors=True)
        self._lock.release()


def read_run(directory: Path) -> list[CaseResult]:
    """Results of a stored run in the order of its plan; a planned case without a result is a
    failure, so that a run that died cannot look complete.

    Raises:
        StoredRunError: no run there, or broken files.
    """
    return [_stored(directory, case) for case in _record(directory).cases]


def read_not_applicable(directory: Path) -> tuple[NotApplicable, ...]:
    """Pairs of a stored run that could not be cases, so that no report forgets them.

    Raises:
        StoredRunError: as ``read_run``.
    """
    return _record(directory).not_applicable


def _record(directory: Path) -> RunRecord:
    try:
        return read_record(directory / RUN_FILE, RunRecord)
    except FileNotFoundError:
        raise StoredRunError(
            f"{directory}: holds no run; 'gate run' writes one below .gate/runs"
        ) from None
    except (OSError, MalformedRecordError) as error:
        raise StoredRunError(f"{directory / RUN_FILE}: {error}; run the cases again") from error


def result_path(directory: Path, case_id: str) -> Path:
    """The result file of a case; different cases never share one."""
    return directory / "results" / f"{escaped(case_id)}.json"


def repro_path(directory: Path, case_id: str) -> Path:
    """The folder of a case's minimal reproduction."""
    return directory / "repro" / escaped(case_id)


def choice_path(directory: Path, case_id: str) -> Path:
    """The fragment of a spec that a case's choice comes to."""
    return directory / "choices" / f"{escaped(case_id)}.yaml"


def _stored(directory: Path, case: Case) -> CaseResult:
    path = result_path(directory, case.id)
    try:
        result = read_record(path, CaseResult)
    except FileNotFoundError:
        message = "the run ended before this case had a result"
        failure = RunFailure(kind="no-result", stage="start", message=message)
        return CaseResult(case=case, failure=failure)
    except (OSError, MalformedRecordError) as error:
        raise StoredRunError(f"{path}: {error}; run the case again") from error
    if result.case != case:
        raise StoredRunError(f"{path}: belongs to another case or plan; run the case again")
    return result


def escaped(case_id: str) -> str:
    """A case's id as a file name; different cases never share one."""
    return quote(case_id, safe="@")


def _unwritable(directory: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(f"{directory}: cannot be written: {error.strerror or error}")


def _prune(runs: Path) -> None:
    """Remove all but the newest runs; names begin with the time, so they sort by age."""
    old = sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink())
    for path in old[:-RUNS_KEPT]:
        lock = FileLock(path / "run.lock")
        if lock.try_acquire():
            shutil.rmtree(path, ignore_errors=True)
        lock.release()
