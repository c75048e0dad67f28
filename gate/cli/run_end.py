"""What ``gate run`` does with its results: verdicts, first baselines, choices, reproductions.

A module of its own, so that it is imported while the first worker starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.baseline.record import record_first
from gate.baseline.store import BaselineStore
from gate.cli.choices import write_choices
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.report.verdicts import judged_all
from gate.run.artifacts import keep_candidates_of
from gate.run.reproductions import with_reproductions


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """Verdicts in the order of the results, and what was written beside the run, for people."""

    verdicts: Sequence[Verdict]
    written: tuple[str, ...]


def conclude(
    results: Sequence[CaseResult],
    baselines: BaselineStore,
    *,
    root: Path,
    run_dir: Path,
    cache_dir: Path | None,
    whole: bool,
) -> Concluded:
    """Judge, and write what belongs to the verdicts.

    Args:
        root: of the project.
        cache_dir: where candidates can be found again; None where nothing is kept.
        whole: whether every tier was run, so that a first baseline may be recorded.

    Raises:
        BaselineError, InfrastructureError: something cannot be read or written.
    """
    verdicts = judged_all(results, baselines)
    recorded = _record(results, verdicts, baselines, root) if whole else []
    chosen = write_choices(results, run_dir)
    verdicts = with_reproductions(
        results, verdicts, run_dir=run_dir.absolute(), cache_dir=cache_dir
    )
    return Concluded(verdicts=verdicts, written=(*recorded, *chosen))


def _record(
    results: Sequence[CaseResult],
    verdicts: Sequence[Verdict],
    baselines: BaselineStore,
    root: Path,
) -> list[str]:
    """Write first baselines where specs say so, and keep their candidates."""
    recorded = record_first(results, verdicts, baselines, root)
    if recorded:
        asked = [r for r in results if r.case.baseline_policy == "record"]
        recorded += keep_candidates_of(asked, baselines, root)
    return recorded
