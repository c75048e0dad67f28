"""``baseline: record``: the first baseline of a case in a class of environments, from a passing run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.baseline.make import provenance_of
from gate.baseline.store import BaselineStore
from gate.baseline.update import prepare
from gate.core.baseline import BaselineMissing, BaselineNotComparable
from gate.core.result import CaseResult
from gate.core.status import Status
from gate.core.verdict import Verdict

_ACCEPTED = (Status.PASS, Status.NOT_COMPARABLE)
REASON = "recorded by the first run (baseline: record)"


def record_first(
    results: Sequence[CaseResult],
    verdicts: Sequence[Verdict],
    store: BaselineStore,
    folder: Path,
) -> list[str]:
    """Write the first baselines of passing cases whose spec says ``baseline: record``, and say so.

    A case that has baselines of other classes only gets one for this class. What is there is never
    replaced, nor is a baseline written beside one that only the spec's own rule keeps from being
    compared with: that takes an update with a reason.

    Args:
        results: of whole cases.
        verdicts: one a result.
        store: where baselines lie.
        folder: in the work tree whose commit the baselines name.

    Raises:
        BaselineError: they cannot be written.
    """
    new = [
        result
        for result, verdict in zip(results, verdicts, strict=True)
        if result.case.baseline_policy == "record"
        and verdict.status in _ACCEPTED
        and _first(result, store)
    ]
    if not new:
        return []
    update = prepare(new, store, provenance_of(REASON, folder))
    written = store.write_all([recording.baseline for recording in update.recordings])
    return [
        *(f"baseline recorded: {path}" for path in written),
        *(f"baseline of {name} not recorded: {reason}" for name, reason in update.refused),
    ]


def _first(result: CaseResult, store: BaselineStore) -> bool:
    if result.observation is None:
        return False
    case = result.case
    found = store.lookup(case.id, result.observation.environment, case.comparability)
    if isinstance(found, BaselineNotComparable):
        return not found.rule_changed
    return isinstance(found, BaselineMissing)
