"""From stored results to verdicts: looks each case's baseline up and lets the judge judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gate.baseline.store import BaselineStore
from gate.core.baseline import BaselineLookup, BaselineMissing
from gate.core.convert import pack, unpack
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.measure import measure
from gate.judge.results import verdict_of
from gate.report.figures import Figures, figures, forget, keep, remember
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A result with its verdict, and the numbers that are asked for first."""

    result: CaseResult
    verdict: Verdict
    numbers: Figures

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``pickle``: thousands of these come from copies of the process."""
        return _unpacked, (self.result, pack(self.verdict), pack(self.numbers))


def _unpacked(result: CaseResult, verdict: bytes, numbers: bytes) -> Judged:
    return Judged(result=result, verdict=unpack(Verdict, verdict), numbers=unpack(Figures, numbers))


def judged_for_reports(result: CaseResult, baselines: BaselineStore, *, whole: bool) -> Judged:
    """Judge a result, and keep of it what reports in words show: layers, outputs and times are most of
    it, and only pages and tables that measure anew (``whole``) look at them again.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """
    verdict, numbers = judged(result, baselines), figures(result)
    forget()
    seen = result.observation
    if seen is not None and not whole:
        shown = replace(
            seen, layers=None, outputs={}, timing=None, probes=(), scores=None, custom=(), task=None
        )
        result = replace(result, observation=shown)
    return Judged(result=result, verdict=verdict, numbers=numbers)


def known(found: Iterable[Judged]) -> tuple[list[CaseResult], list[Verdict]]:
    """Results and verdicts, whose numbers are known from then on."""
    results, verdicts = [], []
    for one in found:
        results.append(one.result)
        verdicts.append(one.verdict)
        if one.result.observation is not None:
            keep(one.result.observation, one.numbers)
    return results, verdicts


def judged_all(results: Iterable[CaseResult], baselines: BaselineStore) -> list[Verdict]:
    """Verdicts in the order of the results, whose headline numbers are known from then on.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """

    found = mapped(lambda result: judged_for_reports(result, baselines, whole=True), list(results))
    return known(found)[1]
