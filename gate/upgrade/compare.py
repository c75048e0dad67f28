"""Run every case on two stacks, in turns, and say what the change of stack did to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineFound, BaselineMissing
from gate.core.case import Case
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.report.verdicts import judged
from gate.run.artifacts import ArtifactStore
from gate.run.cache import Cache
from gate.run.candidates import keep_candidate
from gate.upgrade.attribution import Attribution, Cell, Origin, Side, attribute
from gate.upgrade.cells import Bench, run_cell
from gate.upgrade.stacks import Stack

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """One case: its cells, what they say of the upgrade, and the verdict on the new stack."""

    case: Case
    cells: dict[Cell, CaseResult]
    attribution: Attribution
    verdict: Verdict
    """Of the case made anew by the new stack, against the baseline."""

    @property
    def result(self) -> CaseResult:
        """What the new stack made and ran, as `gate run` would have left it: the cell was run
        without its baseline."""
        return _whole(self.case, self.cells[Side.NEW, Origin.MADE])


def compare_stacks(
    cases: Sequence[Case],
    old: Stack,
    new: Stack,
    *,
    bench: Bench,
    baselines: BaselineStore,
    artifacts: ArtifactStore,
    say: Say,
) -> Iterator[Upgraded]:
    """Run {old, new} x {stored, made anew} for each case, case by case and old, new, new, old, so that
    a drift of the machine meets both stacks alike.

    The stored candidate is the one behind the baseline, where that is kept; else the one that the
    old stack makes now stands for it, which a note of the case says.
    """
    for index, case in enumerate(cases):

        def step(what: str, *, number: int = index, case_id: str = case.id) -> None:
            say(f"[{number + 1}/{len(cases)}] {case_id}: {what}")

        kept = _Kept(baselines, artifacts)
        cells, note = _cells(case, old, new, bench=bench, kept=kept, step=step)
        found = attribute(case.id, cells)
        yield Upgraded(
            case=case,
            cells=cells,
            attribution=replace(found, notes=(*found.notes, *filter(None, [note]))),
            verdict=judged(_whole(case, cells[Side.NEW, Origin.MADE]), baselines),
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where accepted candidates are known and kept."""

    baselines: BaselineStore
    artifacts: ArtifactStore


def _cells(
    case: Case, old: Stack, new: Stack, *, bench: Bench, kept: _Kept, step: Say
) -> tuple[dict[Cell, CaseResult], str]:
    """The cells of a case, and what is to be said of its stored candidate."""
    folder = bench.work / "candidates" / "old"
    step(f"made and run by {old.name}")
    made = run_cell(bench, case, old, label="old-made", keep=folder)
    cells: dict[Cell, CaseResult] = {(Side.OLD, Origin.MADE): made}
    accepted, note = _accepted(case, made, bench, kept)
    if made.observation is not None:
        step(f"the same candidate on {new.name}")
        cells[Side.NEW, Origin.STORED] = run_cell(
            bench, case, new, label="new-stored", candidates=accepted or folder
        )
    step(f"made and run by {new.name}")
    cells[Side.NEW, Origin.MADE] = run_cell(bench, case, new, label="new-made")
    if accepted is not None:
        step(f"the accepted candidate on {old.name}")
        cells[Side.OLD, Origin.STORED] = run_cell(
            bench, case, old, label="old-stored", candidates=accepted
        )
    return cells, note


def _accepted(case: Case, made: CaseResult, bench: Bench, kept: _Kept) -> tuple[Path | None, str]:
    """Folder with the baseline's own candidate, where that is another file than what the old stack
    makes now; or why it is not at hand, where one ought to be."""
    if made.observation is None:
        return None, ""
    found = kept.baselines.lookup(case.id, made.observation.environment, case.comparability)
    if not isinstance(found, BaselineFound):
        if case.baseline_policy == "ignore":
            return None, ""
        why = "it has no baseline" if isinstance(found, BaselineMissing) else found.reason
        return None, f"no candidate is accepted here: {why}; the old stack's own stands for it"
    sha256 = found.baseline.artifacts.get("candidate", "")
    if sha256 == made.observation.artifacts.get("candidate"):
        return None, ""
    artifact = kept.artifacts.find(sha256)
    if isinstance(artifact, str):
        why, cached = artifact, Cache(bench.cache_dir).artifact(sha256)
        if cached is None:
            return None, (
                f"the accepted candidate {sha256[:12]} cannot be had: {why};"
                " the old stack's own stands for it"
            )
        artifact = cached
    folder = bench.work / "candidates" / "accepted"
    keep_candidate(folder, case.id, artifact)
    return folder, ""


def _whole(case: Case, result: CaseResult) -> CaseResult:
    return CaseResult(
        case=case,
        observation=result.observation,
        failure=result.failure,
        skipped=result.skipped,
    )
