"""Which results of a run may become baselines, and what that would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from gate.baseline.diff import BaselineDiff, diff
from gate.baseline.make import make_baseline
from gate.baseline.store import BaselineStore
from gate.core.baseline import (
    Baseline,
    BaselineBroken,
    BaselineFound,
    BaselineMissing,
    Provenance,
)
from gate.core.result import CaseResult
from gate.core.status import Status
from gate.judge.results import verdict_of
from gate.judge.wording import count

_REASONS_SHOWN = 3
_GOOD = (Status.PASS, Status.SKIPPED, Status.NOT_COMPARABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A baseline that would be written."""

    baseline: Baseline
    diff: BaselineDiff
    replaces: str
    """Reason why the old file could not be read; empty where it could, or there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What an update of the baselines comes to."""

    recordings: tuple[Recording, ...]
    unchanged: tuple[str, ...]
    """Cases whose baseline already says the same, but for noise."""
    skipped: tuple[tuple[str, str], ...]
    """(case, why there is nothing to record)."""
    refused: tuple[tuple[str, str], ...]
    """(case, why it is not accepted); while there is any, nothing should be written."""

    @property
    def needs_reason(self) -> tuple[str, ...]:
        """Cases that get worse, are built otherwise, or replace a file that cannot be read."""
        return tuple(
            r.baseline.case_id
            for r in self.recordings
            if r.diff.loosens or r.diff.layers or r.replaces
        )

    def loosened(self, accepted: Sequence[str]) -> tuple[str, ...]:
        """Metrics (``tier.metric``) that get worse and that no glob of ``accepted`` names."""
        worse = {
            (f"{change.tier}.{change.metric}", change.metric)
            for recording in self.recordings
            for change in recording.diff.loosens
        }
        return tuple(
            sorted(
                whole
                for whole, name in worse
                if not any(fnmatchcase(whole, g) or fnmatchcase(name, g) for g in accepted)
            )
        )


def prepare(
    results: Sequence[CaseResult],
    store: BaselineStore,
    provenance: Provenance,
    *,
    accept_failing: bool = False,
    keep_noise: bool = False,
) -> Update:
    """Sort results into those that may be recorded and those that may not. Writes nothing.

    A result is judged by its tolerances and the fixed rules without the old baseline, which is
    what the update is to replace; what gets worse against it is in the diff. One that errs can
    never be recorded, one that fails or is inconclusive only with ``accept_failing``. Where only
    times and memory changed, which they do in every run, the file is left as it is, unless
    ``keep_noise``.

    Raises:
        BaselineError: an interrupted earlier update cannot be finished.
    """
    recordings: list[Recording] = []
    unchanged: list[str] = []
    skipped: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    for result in results:
        case, observation = result.case, result.observation
        if result.skipped is not None and result.failure is None:
            skipped.append((case.id, result.skipped))
            continue
        if case.baseline_policy == "ignore":
            skipped.append((case.id, "the spec says baseline: ignore"))
            continue
        why_not = _refusal(result, accept_failing=accept_failing)
        if why_not or observation is None:
            refused.append((case.id, why_not))
            continue
        new = make_baseline(case, observation, provenance)
        found = store.lookup(case.id, new.environment, case.comparability)
        changes = diff(found.baseline if isinstance(found, BaselineFound) else None, new)
        if changes.empty or (changes.only_noise and not keep_noise):
            unchanged.append(case.id)
            continue
        broken = found.reason if isinstance(found, BaselineBroken) else ""
        recordings.append(Recording(baseline=new, diff=changes, replaces=broken))
    return Update(
        recordings=tuple(recordings),
        unchanged=tuple(unchanged),
        skipped=tuple(skipped),
        refused=tuple(refused),
    )


def _refusal(result: CaseResult, *, accept_failing: bool) -> str:
    """Why a result is not accepted; empty where it is."""
    if result.planted is not None:
        return f"a drill planted the fault '{result.planted.fault}' into this run"
    alone = replace(result, case=replace(result.case, baseline_policy="ignore"))
    verdict = verdict_of(alone, BaselineMissing(path=""))
    if verdict.failure is not None:
        return f"ERROR in stage {verdict.failure.stage}: {verdict.failure.message}"
    status = verdict.status
    if status is Status.PASS or (accept_failing and status is not Status.ERROR):
        return ""
    bad = [c for c in verdict.checks if c.status not in _GOOD]
    shown = "; ".join(
        f"{c.tier}.{c.rule} of {c.subject}: {c.message}" for c in bad[:_REASONS_SHOWN]
    )
    more = f" and {count(len(bad) - _REASONS_SHOWN, 'more check')}" if bad[_REASONS_SHOWN:] else ""
    return f"{status}: {shown or 'it passes although the spec expects it to fail'}{more}"
