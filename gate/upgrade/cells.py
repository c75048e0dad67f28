"""One cell: one case, on one stack, with one candidate. Kept, so that an interrupted comparison goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.convert import MalformedRecordError
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.quantize.base import QuantizeError
from gate.run.candidates import kept_candidate
from gate.run.job import read_record, write_record
from gate.run.store import StoredRunError, escaped, read_run
from gate.upgrade.stacks import Stack
from gate.upgrade.standing import standing

DONE = "done.json"
START_SECONDS = 120.0
"""What the gate itself may take around the worker, which has a time-out of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """What a kept cell must agree in to be used again."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where cells are run."""

    project: Path
    """Current directory of the runs: entries and relative paths are the project's."""
    work: Path
    gate_source: Path
    cache_dir: Path


def run_cell(
    bench: Bench,
    case: Case,
    stack: Stack,
    *,
    label: str,
    candidates: Path | None = None,
    keep: Path | None = None,
    baselines: Path | None = None,
) -> CaseResult:
    """Run a case by ``gate run`` under the stack's interpreter, or take what an earlier run left.

    A gate that cannot even start there gives a failure in stage ``start``, never an exception.

    Args:
        bench: where.
        case: what.
        stack: on which versions.
        label: name of the cell, a folder's name.
        candidates: folder to take the candidate from; None makes it anew.
        keep: folder to copy the candidate to.
        baselines: folder of baselines that the worker may look up; None ignores them.

    Raises:
        KeyboardInterrupt: the run was interrupted.
    """
    folder = bench.work / escaped(case.id) / label
    key = _key(case, stack, candidates)
    kept = _kept(folder, key)
    if kept is not None:
        return kept
    command = [
        *(str(stack.python), "-m", "gate.cli.main", "run", case.spec_path),
        *("--select", exactly(case.id), "--out", str(folder), "--quiet", "--json"),
        *(("--candidates", str(candidates)) if candidates is not None else ()),
        *(("--keep-candidates", str(keep)) if keep is not None else ()),
        *(
            ("--baselines", str(baselines))
            if baselines is not None
            else ("--baseline-policy", "ignore")
        ),
    ]
    said = _run(command, bench, limit=case.run.timeout_seconds + START_SECONDS)
    try:
        (result,) = read_run(folder)
    except (StoredRunError, ValueError) as error:
        message = f"the gate gave no result under {stack.python}: {error}"
        failure = RunFailure(kind="crash", stage="start", message=message, last_output=said)
        return CaseResult(case=case, failure=failure)
    if result.failure is None or result.failure.kind != "interrupted":
        write_record(folder / DONE, CellKey(key=key))
    return result


def _key(case: Case, stack: Stack, candidates: Path | None) -> str:
    return digest(
        {
            "case": case.id,
            "spec": case.spec_digest,
            "standing": standing(case),
            "python": str(stack.python),
            "versions": dict(stack.versions),
            "candidate": _candidate(case, candidates),
        }
    )


def _candidate(case: Case, candidates: Path | None) -> str | None:
    """SHA-256 of the candidate that is given; None where it is made anew."""
    if candidates is None:
        return None
    try:
        return kept_candidate(candidates, case.id).sha256
    except QuantizeError:
        return ""  # the run says what is wrong with it


def _kept(folder: Path, key: str) -> CaseResult | None:
    try:
        if read_record(folder / DONE, CellKey).key != key:
            return None
        (result,) = read_run(folder)
    except (OSError, MalformedRecordError, StoredRunError, ValueError):
        return None  # not finished, or of another comparison: it is run again
    return result


def _run(command: list[str], bench: Bench, *, limit: float) -> str:
    """Run to the end and return the last of what was said on standard error."""
    process = subprocess.Popen(  # noqa: S603 - interpreters that the user named, own arguments
        command,
        cwd=bench.project,
        env=environment(bench),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
        said += f"\nended after {limit:g} s"
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    return "\n".join(said.splitlines()[-10:])


def environment(bench: Bench) -> Mapping[str, str]:
    """Variables under which a stack runs this gate."""
    here = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "VIRTUAL_ENV"}}
    # The user's own path stays: entries may need it.
    path = [str(bench.gate_source), *filter(None, [here.get("PYTHONPATH")])]
    return {
        **here,
        "PYTHONPATH": os.pathsep.join(path),
        "GATE_CACHE": str(bench.cache_dir),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def exactly(case_id: str) -> str:
    """A glob that matches this id alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in case_id)
