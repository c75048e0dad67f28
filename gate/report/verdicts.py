"""From stored results to verdicts: looks each case's baseline up and lets the judge judge."""

from __future__ import annotations

from collections.abc import Iterable

from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineLookup, BaselineMissing
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.measure import measure
from gate.judge.results import verdict_of
from gate.report.figures import Figures, figures, keep, remember
from gate.run.parallel import mapped


def judged(result: CaseResult, baselines: BaselineStore) -> Verdict:
    """Verdict of one result; without an observation there is nothing to look up.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """
    lookup = looked_up(result, baselines)
    if result.observation is None:
        return verdict_of(result, lookup)
    measured = measure(result.observation)
    remember(result.observation, measured)
    return verdict_of(result, lookup, measured)


def looked_up(result: CaseResult, baselines: BaselineStore) -> BaselineLookup:
    """The baseline that a result is judged by; a missing one where the spec never looks.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """
    case = result.case
    if result.observation is None or case.baseline_policy == "ignore":
        return BaselineMissing(path=str(baselines.folder(case.id)))
    return baselines.lookup(case.id, result.observation.environment, case.comparability)


def judged_all(results: Iterable[CaseResult], baselines: BaselineStore) -> list[Verdict]:
    """Verdicts in the order of the results, whose headline numbers are known from then on.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """

    def work(result: CaseResult) -> tuple[Verdict, Figures]:
        return judged(result, baselines), figures(result)

    results = list(results)
    found = mapped(work, results)
    for result, (_, numbers) in zip(results, found, strict=True):
        if result.observation is not None:
            keep(result.observation, numbers)
    return [verdict for verdict, _ in found]
