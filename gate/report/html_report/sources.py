"""What the HTML report shows beyond verdicts and results: baselines, and flipped samples of the runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gate.baseline.store import BaselineStore
from gate.core.baseline import Baseline, BaselineFound
from gate.core.case import NotApplicable
from gate.core.convert import MalformedRecordError
from gate.core.flips import Flips
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.report.verdicts import looked_up
from gate.run.flips import read_flips


def page(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    baselines: BaselineStore | None = None,
    runs: Sequence[Path] = (),
) -> str:
    """The HTML report of judged results.

    Args:
        verdicts: in the order of the plan.
        results: what was judged.
        not_applicable: pairs that cannot exist.
        baselines: where the verdicts' baselines came from; None shows none.
        runs: folders of the runs that the results are of, for samples that flipped.

    Raises:
        BaselineError: an interrupted update of the baselines cannot be finished.
    """
    from gate.report.html_report.render import render

    return render(
        verdicts,
        results,
        not_applicable=not_applicable,
        baselines=_accepted(results, baselines) if baselines is not None else {},
        flips=_flips(results, runs),
    )


def _accepted(results: Sequence[CaseResult], store: BaselineStore) -> dict[str, Baseline]:
    found = ((result.case.id, looked_up(result, store)) for result in results)
    return {
        case_id: lookup.baseline for case_id, lookup in found if isinstance(lookup, BaselineFound)
    }


def _flips(results: Sequence[CaseResult], runs: Sequence[Path]) -> dict[str, Flips]:
    found: dict[str, Flips] = {}
    for run in dict.fromkeys(runs):
        for result in results:
            try:
                flips = read_flips(run, result.case.id)
            except (OSError, MalformedRecordError) as error:
                # They decide nothing, and the page says where they are missing.
                sys.stderr.write(f"gate: flipped samples of {result.case.id} not shown: {error}\n")
                continue
            if flips is not None:
                found[result.case.id] = flips
    return found
