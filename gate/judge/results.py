"""From the result of a case, whatever it came to, to its verdict."""

from __future__ import annotations

from gate.core.baseline import BaselineLookup
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.judge import judge
from gate.judge.measure import Measured


def verdict_of(
    result: CaseResult, baseline: BaselineLookup, measured: Measured | None = None
) -> Verdict:
    """Judge an observation; a failure is an ERROR, a skip keeps its reason.

    A result that holds none or several of the three is an ERROR: nothing can be told from it.
    ``measured`` is as in ``judge``.
    """
    case = result.case
    given = [x for x in (result.observation, result.failure, result.skipped) if x is not None]
    failure = result.failure
    if len(given) != 1:
        failure = RunFailure(
            kind="no-result",
            stage=failure.stage if failure is not None else "",
            message=f"a result holds an observation, a failure or a skip; this one has {len(given)}",
            last_output=failure.last_output if failure is not None else "",
        )
    elif result.observation is not None:
        return judge(case, result.observation, baseline, measured)
    return Verdict(
        case_id=case.id,
        checks=(),
        failure=failure,
        skipped=result.skipped if failure is None else None,
        expected_failure=case.expected_failure,
        expected_metrics=case.expected_metrics,
    )
