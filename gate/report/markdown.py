"""Markdown for a pull-request comment or a job summary: worst first, details folded, size bounded."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gate.core.case import NotApplicable
from gate.core.result import CaseResult
from gate.core.status import Tier
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.report.checks import check_table
from gate.report.explain import Topic, explain
from gate.report.figures import Figures, drop_text, figures
from gate.report.format import quantity, span
from gate.report.outcome import SEVERITY, Outcome, counts_line, outcome, spaced
from gate.report.style import Style
from gate.report.text import clean, markdown_cell, one_line, tail
from gate.report.tiers import shown_tiers, tier_outcomes

MAX_BYTES = 1024 * 1024
"""Limit of a GitHub job summary; what is beyond it would be refused as a whole."""

_OUTPUT_LINES = 40
_RESERVE = 512  # bytes kept for the notice of what was left out
_MARK = {
    Outcome.PASS: "✅ PASS",
    Outcome.XFAIL: "✅ XFAIL",
    Outcome.FAIL: "❌ FAIL",
    Outcome.ERROR: "💥 ERROR",
    Outcome.INCONCLUSIVE: "❔ INCONCLUSIVE",
    Outcome.SKIPPED: "⏭️ SKIPPED",
    Outcome.NOT_COMPARABLE: "⚠️ NOT COMPARABLE",
}
_HEAD = (
    "| result | case | numerical | layers | device | top-1 drop | SQNR | rel. MSE | speed-up | smaller |\n"
    "|---|---|---|---|---|--:|--:|--:|--:|--:|"
)


def render(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    max_bytes: int = MAX_BYTES,
) -> str:
    """Write the report in no more than ``max_bytes`` bytes of UTF-8.

    Where that is too little, details go first and rows of the table next, each from the mildest
    upwards, and a notice at the end says how many of each were left out.
    """
    by_id = {result.case.id: result for result in results}
    ordered = sorted(verdicts, key=lambda verdict: SEVERITY.index(outcome(verdict)))
    title = f"## Gate: {_headline(ordered)}\n\n{markdown_cell(counts_line(verdicts, len(not_applicable)))}\n"
    rows = [_row(verdict, by_id.get(verdict.case_id)) for verdict in ordered]
    details = [text for text in map(_details, ordered) if text]
    if not_applicable:
        details.append(_not_applicable(not_applicable))

    budget = max_bytes - _RESERVE - _bytes(title) - _bytes(_HEAD) - 2
    kept_rows = _fitting(rows, budget)
    budget -= sum(_bytes(row) + 1 for row in kept_rows)
    kept_details = _fitting(details, budget)
    notice = _notice(len(rows) - len(kept_rows), len(details) - len(kept_details))
    table = "\n".join([_HEAD, *kept_rows]) + "\n" if kept_rows else ""
    return "\n".join(part for part in (title, table, *kept_details, notice) if part)


def _headline(ordered: Sequence[Verdict]) -> str:
    return _MARK[outcome(ordered[0])] if ordered else "💥 nothing ran"


def _row(verdict: Verdict, result: CaseResult | None) -> str:
    tiers = shown_tiers(result.case) if result is not None else tuple(Tier)
    parts = {part.tier: part for part in tier_outcomes(verdict, tiers)}
    words = [
        ""
        if tier not in parts
        else ("XFAIL" if parts[tier].expected else spaced(parts[tier].status))
        for tier in Tier
    ]
    numbers = figures(result)
    cells = [
        _MARK[outcome(verdict)],
        markdown_cell(verdict.case_id),
        *words,
        markdown_cell(_drop(numbers)),
        quantity(numbers.sqnr_db, "dB"),
        quantity(numbers.relative_mse_percent, "%"),
        quantity(numbers.speedup, "x"),
        quantity(numbers.size_ratio, "x"),
    ]
    return f"| {' | '.join(cells)} |"


def _drop(numbers: Figures) -> str:
    """The top-1 drop, or what is lost at another task, on these samples, and in general."""
    text = drop_text(numbers)
    low, high = numbers.top1_drop_low_pp, numbers.top1_drop_high_pp
    if numbers.task_drop is not None:
        low, high = numbers.task_drop.low, numbers.task_drop.high
    unit = numbers.task_drop.unit if numbers.task_drop is not None else "pp"
    return text if low is None or high is None else f"{text} {span(low, high, unit)}"


def _details(verdict: Verdict) -> str:
    """Folded block of a case that is no plain pass."""
    lines = explain(verdict)
    if outcome(verdict) is Outcome.PASS or not lines:
        return ""
    body = [
        f"- **{line.topic}**: {markdown_cell(line.text)}"
        for line in lines
        if line.topic is not Topic.OUTPUT
    ]
    for line in lines:
        if line.topic is Topic.OUTPUT:
            body.extend(
                ["", f"{line.topic.capitalize()}:", "", _fenced(tail(line.text, _OUTPUT_LINES))]
            )
    table = check_table(verdict.checks, Style(), failing_only=True)
    if table:
        body.extend(["", _fenced(table)])
    return _folded(f"{spaced(outcome(verdict))} {one_line(verdict.case_id)}", "\n".join(body))


def _not_applicable(pairs: Sequence[NotApplicable]) -> str:
    body = "\n".join(f"- {markdown_cell(pair.id)}: {markdown_cell(pair.reason)}" for pair in pairs)
    return _folded(f"{count(len(pairs), 'pair')} not applicable", body)


def _folded(summary: str, body: str) -> str:
    safe = summary.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<details><summary>{safe}</summary>\n\n{body}\n\n</details>\n"


def _fenced(text: str) -> str:
    """Code block whose fence is longer than any run of back-ticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text)}\n{fence}"


def _fitting(parts: Sequence[str], budget: int) -> list[str]:
    """Longest prefix of ``parts`` that fits, a newline after each counted."""
    kept: list[str] = []
    for part in parts:
        budget -= _bytes(part) + 1
        if budget < 0:
            break
        kept.append(part)
    return kept


def _notice(rows: int, details: int) -> str:
    if not rows and not details:
        return ""
    left_out = [count(n, what) for n, what in ((rows, "row"), (details, "detail")) if n]
    return (
        f"> **Cut to fit:** {' and '.join(left_out)} were left out, the mildest first. "
        "The JSON report has everything.\n"
    )


def _bytes(text: str) -> int:
    return len(text.encode())
