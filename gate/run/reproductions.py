"""A folder that runs by itself for the first bad layer of each failed case, where that is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.core.result import CaseResult
from gate.core.status import Status
from gate.core.verdict import Verdict
from gate.run.localise import REPRODUCE_SECONDS, LocaliseError, LocaliseJob, localise
from gate.run.store import repro_path

MOST_CASES = 3
"""Cases of one run that a folder is written for: one broken change breaks many in the same way."""


def with_reproductions(
    results: Sequence[CaseResult],
    verdicts: Sequence[Verdict],
    *,
    run_dir: Path,
    cache_dir: Path | None,
) -> list[Verdict]:
    """The verdicts, with a note where a folder was written or why there is none.

    The candidate is taken from the cache; without one it would be made a second time, and no folder is
    written.
    """
    told = []
    left = MOST_CASES
    for result, verdict in zip(results, verdicts, strict=True):
        layer = verdict.first_bad_layer
        unexpected = verdict.status is Status.FAIL and verdict.expected_failure is None
        if layer is None or not unexpected or result.observation is None:
            told.append(verdict)
            continue
        if cache_dir is None:
            note = f"no reproduction of '{layer}': nothing is cached; see `gate localise --save`"
        elif not left:
            note = f"no reproduction of '{layer}': {MOST_CASES} were written for other cases"
        else:
            left -= 1
            note = _note(result, layer, repro_path(run_dir, result.case.id), cache_dir)
        told.append(replace(verdict, notes=(*verdict.notes, note)))
    return told


def _note(result: CaseResult, layer: str, folder: Path, cache_dir: Path) -> str:
    job = LocaliseJob(case=result.case, cache_dir=cache_dir, layer=layer, save=folder)
    try:
        done = localise(job, seconds=REPRODUCE_SECONDS)
    except LocaliseError as error:
        return f"no reproduction of '{layer}': {error}"
    if done.folder is None:
        return f"no reproduction of '{layer}': {done.why_no_folder}"
    return f"minimal reproduction of '{layer}': {shown(done.folder)}"


def shown(folder: Path) -> str:
    """A path as it is typed from here, where it lies below the current folder."""
    here = Path.cwd()
    inside = folder.is_relative_to(here)
    return (folder.relative_to(here) if inside else folder).as_posix()
