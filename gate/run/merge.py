"""Shards of one plan put together: one run folder, exactly one result a planned case.

Whatever cannot be told apart from a mistake stops the merge: shards of different plans, a shard or a
case that came twice, results that nobody planned. What is merely missing becomes a failed case, so
that the report shows it beside the others and the gate fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from gate.core.case import Case, Plan
from gate.core.convert import MalformedRecordError, from_json, items_of_json, part_of_json, to_json
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.parallel import mapped
from gate.run.shards import PlanRecord, ShardRecord, fingerprint, written_digest
from gate.run.store import (
    PLAN_FILE,
    RUN_FILE,
    RunRecord,
    RunStore,
    StoredRunError,
    result_path,
)

R = TypeVar("R")

_NOT_CARRIED = frozenset({"results", "work", "locks"})
_NAMED = 3  # of many missing things, so many are named


class MergeError(Exception):
    """Runs that are not the shards of one plan; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged(Generic[R]):
    """A whole plan, what was made of each of its results, in order, and what was missing, for people."""

    plan: Plan
    found: tuple[R, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The part of a ``RunRecord`` that tells which shard it is of what."""

    gate_version: str
    cases: tuple[_Ran, ...]
    shard: ShardRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One shard's folder."""

    folder: Path
    record: _Head

    @property
    def place(self) -> tuple[int, int]:
        shard = self.record.shard
        return (1, 1) if shard is None else (shard.index, shard.count)


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Run folders: those given, and those one or two levels below a given folder that is none itself.

    Raises:
        MergeError: a folder with neither.
    """
    found: list[Path] = []
    for folder in folders:
        if (folder / RUN_FILE).is_file():
            found.append(folder)
            continue
        patterns = (f"*/{RUN_FILE}", f"*/*/{RUN_FILE}")
        inside = [file.parent for pattern in patterns for file in sorted(folder.glob(pattern))]
        if not inside:
            raise MergeError(f"{folder}: holds no run, and no folder in it does")
        found.extend(inside)
    return list(dict.fromkeys(found))


def check_apart(out: Path, folders: Sequence[Path]) -> None:
    """Raises MergeError where ``out``, which will be emptied, is one of the runs."""
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise MergeError(f"{out}: is one of the runs to merge; name another folder")


def merge(
    folders: Sequence[Path],
    out: Path,
    each: Callable[[CaseResult], R],
    *,
    expected_digest: str | None = None,
) -> Merged[R]:
    """Check the shards in ``folders`` against each other and write one run into ``out``.

    Args:
        folders: the run folder of each shard, in any order.
        out: an empty folder.
        each: what is made of a result, perhaps in a copy of this process.
        expected_digest: what the plan's digest must be, where that is known from elsewhere.

    Raises:
        MergeError: the runs are not the shards of one plan.
        StoredRunError: a run that cannot be read.
        InfrastructureError: ``out`` cannot be written.
    """
    runs = [_Run(folder=folder, record=_head(folder / RUN_FILE)) for folder in folders]
    _check_together(runs)
    plan, written = _plan(runs[0])
    digest = written_digest(written.values(), plan.not_applicable)
    if expected_digest is not None and digest != expected_digest:
        raise MergeError(
            f"{runs[0].folder}: is of another plan than the one expected"
            f" ({digest[:12]}, not {expected_digest[:12]}): were specs or selection changed?"
        )
    for run in runs:
        if run.record.shard is not None and run.record.shard.plan_digest != digest:
            raise MergeError(
                f"{run.folder}: its digest of the plan is not that of the plan itself; run it again"
            )
    owners = _owners(runs, frozenset(written))
    store = RunStore(
        out, plan.cases, not_applicable=plan.not_applicable, written=list(written.values())
    )
    try:
        found = mapped(
            lambda case: each(_carry(case, owners.get(case.id), _absent(case.id, runs), store)),
            plan.cases,
        )
        for run in runs:
            _carry_rest(run.folder, out)
    finally:
        store.close()
    return Merged(plan=plan, found=tuple(found), problems=tuple(_missing(runs)))


def _check_together(runs: Sequence[_Run]) -> None:
    if not runs:
        raise MergeError("there is nothing to merge")
    first = runs[0]
    seen: dict[tuple[int, int], Path] = {}
    for run in runs:
        index, count = run.place
        if count != first.place[1]:
            raise MergeError(
                f"{run.folder}: is shard {index}/{count}, but {first.folder} is one of"
                f" {first.place[1]}"
            )
        if run.place in seen:
            what = "a whole run" if count == 1 else f"shard {index}/{count}"
            raise MergeError(f"{run.folder}: is {what}, and so is {seen[run.place]}")
        seen[run.place] = run.folder
        if run.record.gate_version != first.record.gate_version:
            raise MergeError(
                f"{run.folder}: was run by gate {run.record.gate_version}, {first.folder} by"
                f" {first.record.gate_version}"
            )
        digests = [r.record.shard.plan_digest for r in (run, first) if r.record.shard is not None]
        if len(set(digests)) > 1:
            raise MergeError(
                f"{run.folder}: is of another plan than {first.folder}: specs, selection or tiers"
                " differ"
            )


def _plan(run: _Run) -> tuple[Plan, dict[str, bytes]]:
    """The whole plan, and each of its cases as it is written."""
    path = run.folder / (RUN_FILE if run.record.shard is None else PLAN_FILE)
    raw = _bytes(path)
    try:
        whole: RunRecord | PlanRecord = (
            from_json(RunRecord, raw) if run.record.shard is None else from_json(PlanRecord, raw)
        )
    except MalformedRecordError as error:
        raise StoredRunError(f"{path}: {error}; run it again") from error
    written = dict(zip((case.id for case in whole.cases), items_of_json(raw, "cases"), strict=True))
    if len(written) != len(whole.cases):
        raise StoredRunError(f"{path}: plans a case twice; run it again")
    return Plan(cases=whole.cases, not_applicable=whole.not_applicable), written


def _owners(runs: Sequence[_Run], planned: frozenset[str]) -> dict[str, _Run]:
    """Which shard has which case; every result file must be one of them."""
    owners: dict[str, _Run] = {}
    for run in runs:
        files = {path.name for path in (run.folder / "results").glob("*.json")}
        for case in run.record.cases:
            if case.id not in planned:
                raise MergeError(f"{run.folder}: ran {case.id}, which the plan does not have")
            other = owners.setdefault(case.id, run)
            if other is not run:
                raise MergeError(
                    f"{case.id} was run in {other.folder} and in {run.folder}: the shards were"
                    " divided by different costs"
                )
            files.discard(result_path(run.folder, case.id).name)
        if files:
            raise MergeError(
                f"{run.folder}: holds results that it did not plan:"
                f" {', '.join(sorted(files)[:_NAMED])}"
            )
    return owners


def _absent(case_id: str, runs: Sequence[_Run]) -> str:
    """Why a case without an owner has none."""
    gone = _gone(runs)
    if gone:
        return f"{_shards(gone, runs)} missing, and {case_id} is in none of the others"
    return f"no shard ran {case_id}: the shards were divided by different costs"


def _gone(runs: Sequence[_Run]) -> list[int]:
    present = {run.place[0] for run in runs}
    return [index for index in range(1, runs[0].place[1] + 1) if index not in present]


def _shards(indices: Sequence[int], runs: Sequence[_Run]) -> str:
    named = ", ".join(f"{index}/{runs[0].place[1]}" for index in indices[:_NAMED])
    if len(indices) == 1:
        return f"shard {named} is"
    more = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return f"shards {named}{more} are"


def _missing(runs: Sequence[_Run]) -> Iterable[str]:
    gone = _gone(runs)
    if gone:
        yield f"{_shards(gone, runs)} missing: their cases are errors"


def _carry(case: Case, owner: _Run | None, absent: str, store: RunStore) -> CaseResult:
    """Take one result over as it is; what is wrong with it makes it a failure."""
    if owner is None:
        return _failed(case, absent, store)
    source = result_path(owner.folder, case.id)
    try:
        raw = _regular(source)
        result = from_json(CaseResult, raw)
    except FileNotFoundError:
        return _failed(case, f"{_named(owner)} ended before this case had a result", store)
    except (OSError, MalformedRecordError) as error:
        return _failed(case, f"the result of {_named(owner)} cannot be read: {error}", store)
    if result.case == case:
        (store.directory / "results" / source.name).write_bytes(raw)
        return replace(result, case=case)
    if fingerprint(to_json(result.case)) != fingerprint(to_json(case)):
        return _failed(case, f"the result of {_named(owner)} belongs to another case", store)
    # The same case on a machine whose files lie elsewhere.
    moved = replace(result, case=case)
    store.save(moved)
    return moved


def _regular(path: Path) -> bytes:
    if path.is_symlink():
        raise MalformedRecordError("is a link")
    return path.read_bytes()


def _named(run: _Run) -> str:
    index, count = run.place
    return f"shard {index}/{count}" if count > 1 else "the run"


def _failed(case: Case, message: str, store: RunStore) -> CaseResult:
    failure = RunFailure(kind="no-result", stage="start", message=message)
    result = CaseResult(case=case, failure=failure)
    store.save(result)
    return result


def _carry_rest(source: Path, out: Path) -> None:
    """Logs and whatever else a run keeps a case; links are left out."""
    for name in sorted(entry.name for entry in os.scandir(source) if entry.is_dir()):
        if name in _NOT_CARRIED or (source / name).is_symlink():
            continue
        for folder, _, files in os.walk(source / name):
            target = out / Path(folder).relative_to(source)
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                if not (Path(folder) / file).is_symlink():
                    shutil.copyfile(Path(folder) / file, target / file)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoredRunError(f"{path}: cannot be read: {error.strerror or error}") from None


def _head(path: Path) -> _Head:
    """What a shard's run says of itself. Of its cases the names are enough, the plan has the rest."""
    raw = _bytes(path)
    try:
        return part_of_json(_Head, raw)
    except MalformedRecordError as error:
        raise StoredRunError(f"{path}: {error}; run the cases again") from error
