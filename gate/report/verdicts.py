"""From stored results to verdicts: looks each case's baseline up and lets the judge judge."""

from __future__ import annotations

from collections.abc import Iterable

from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineLookup, BaselineMissing
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.results import verdict_of


def judged(result: CaseResult, baselines: BaselineStore) -> Verdict:
    """Verdict of one result; without an observation there is nothing to look up.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """
    lookup: BaselineLookup = BaselineMissing(path=str(baselines.folder(result.case.id)))
    if result.observation is not None and result.case.baseline_policy != "ignore":
        case = result.case
        environment = result.observation.environment
        lookup = baselines.lookup(case.id, environment, case.comparability)
    return verdict_of(result, lookup)


def judged_all(results: Iterable[CaseResult], baselines: BaselineStore) -> list[Verdict]:
    """Verdicts in the order of the results."""
    return [judged(result, baselines) for result in results]
