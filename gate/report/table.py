"""The terminal report: one row a case, then what failed first and why, then the counts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gate.core.case import NotApplicable
from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.verdict import Verdict
from gate.report.checks import check_table
from gate.report.explain import Topic, explain
from gate.report.figures import Figures, drop_text, figures
from gate.report.format import quantity, seconds
from gate.report.grid import grid
from gate.report.outcome import Outcome, counts_line, outcome, spaced
from gate.report.style import Style
from gate.report.text import one_line, tail
from gate.report.tiers import TierOutcome, shown_tiers, tier_outcomes

_OUTPUT_LINES = 12
_LEAST_CASE_WIDTH = 16
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Header -> how to write it. The narrower the terminal, the fewer from the end are shown.
_FIGURES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("top-1\ndrop", drop_text),
    ("SQNR", lambda f: quantity(f.sqnr_db, "dB")),
    ("speed-up", lambda f: quantity(f.speedup, "x")),
    ("smaller", lambda f: quantity(f.size_ratio, "x")),
    ("relative\nMSE", lambda f: quantity(f.relative_mse_percent, "%")),
)


@dataclass(frozen=True, slots=True)
class _Layout:
    figures: int
    tier_words: bool
    case_width: int | None = None


_LAYOUTS = (
    _Layout(5, tier_words=True),
    _Layout(5, tier_words=False),
    _Layout(4, tier_words=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    spec: str
    pair: str
    outcome: Outcome
    tiers: Mapping[Tier, TierOutcome]
    figures: Figures


def render(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    style: Style | None = None,
    verbose: bool = False,
    explained: bool = True,
    head: str | None = None,
) -> str:
    """Write the whole report; ``verbose`` adds every check of every case, without ``explained`` the
    cases' own blocks are left out, and ``head`` stands in place of the table of cases."""
    style = style or Style()
    by_id = {result.case.id: result for result in results}
    blocks = []
    if head is not None:
        blocks.append(head)
    elif verdicts:
        blocks.append(_case_table([_row(v, by_id.get(v.case_id)) for v in verdicts], style))
    for verdict in verdicts if explained else ():
        told = _explained(verdict, style, verbose=verbose)
        if told:
            blocks.append(told)
    notes = [
        *_grouped("skipped", ((v.skipped, v.case_id) for v in verdicts if v.skipped)),
        *_grouped("baseline", ((v.baseline_note, v.case_id) for v in verdicts if _says(v))),
        *_grouped("note", ((note, v.case_id) for v in verdicts for note in v.notes)),
        *_grouped("not applicable", ((pair.reason, pair.id) for pair in not_applicable)),
    ]
    if notes:
        blocks.append("\n".join(_wrapped(note, style.width, "") for note in notes))
    total = sum(sum(r.observation.stage_seconds.values()) for r in results if r.observation)
    line = counts_line(verdicts, len(not_applicable))
    blocks.append(f"{line} ({seconds(total)} of work)" if total else line)
    return "\n\n".join(blocks) + "\n"


def _row(verdict: Verdict, result: CaseResult | None) -> _Row:
    spec, _, pair = verdict.case_id.partition("/")
    tiers = shown_tiers(result.case) if result is not None else tuple(Tier)
    return _Row(
        spec=one_line(spec),
        pair=one_line(pair or spec),
        outcome=outcome(verdict),
        tiers={part.tier: part for part in tier_outcomes(verdict, tiers)},
        figures=figures(result),
    )


def _case_table(rows: Sequence[_Row], style: Style) -> str:
    text = ""
    for layout in _LAYOUTS:
        text = _tabulated(rows, layout, style)
        if _width(text) <= style.width:
            return text
    case_width = max(2 + len(row.pair) for row in rows)
    for shown in range(_LAYOUTS[-1].figures, -1, -1):
        layout = _Layout(shown, tier_words=False)
        spare = style.width - _width(_tabulated(rows, layout, style)) + case_width
        if spare >= _LEAST_CASE_WIDTH or not shown:
            layout = _Layout(shown, tier_words=False, case_width=max(spare, _LEAST_CASE_WIDTH))
            return _tabulated(rows, layout, style)
    return text


def _tabulated(rows: Sequence[_Row], layout: _Layout, style: Style) -> str:
    picked = _FIGURES[: layout.figures]
    tier_headers = [t.value if layout.tier_words else t.value[0].upper() for t in Tier]
    headers = ["case", "result", *tier_headers, *(header for header, _ in picked)]
    body: list[list[str]] = []
    spec = None
    for row in rows:
        if row.spec != spec:
            spec = row.spec
            body.append([row.spec, *[""] * (len(headers) - 1)])
        body.extend(_cells(row, layout, style, [write(row.figures) for _, write in picked]))
    lines = grid(headers, body, right=range(2 + len(Tier), len(headers))).split("\n")
    if not layout.tier_words:
        lines.append(
            "N numerical, L layers, D device: P pass, F fail, E error, I inconclusive, "
            "S skipped, C not comparable, X failed as expected"
        )
        lines[-1:] = textwrap.wrap(lines[-1], style.width)
    return "\n".join(lines)


def _cells(row: _Row, layout: _Layout, style: Style, figures_: list[str]) -> list[list[str]]:
    """Cells of one row, and rows that hold the rest of a name that is wider than its column."""
    width = layout.case_width
    names = [row.pair] if width is None or len(row.pair) + 2 <= width else _split(row.pair, width)
    cells = [f"  {names[0]}", style.paint(spaced(row.outcome), row.outcome.value)]
    for tier in Tier:
        part = row.tiers.get(tier)
        word = "-" if part is None else _tier_word(part)
        text = _cell(word, words=layout.tier_words)
        cells.append(style.paint(text, word))
    rest = [[f"    {name}", *[""] * (len(cells) - 1 + len(figures_))] for name in names[1:]]
    return [[*cells, *figures_], *rest]


def _split(pair: str, width: int) -> list[str]:
    """Break before the target, and where that is not enough, anywhere."""
    quantization, at, target = pair.partition("@")
    return [
        piece for half in (quantization, at + target) for piece in textwrap.wrap(half, width - 4)
    ]


def _cell(word: str, *, words: bool) -> str:
    """A status in a column that is narrow, or very narrow."""
    if word == Status.NOT_COMPARABLE.value:
        return "not comp." if words else "C"
    return word.lower() if words else word[0]


def _tier_word(part: TierOutcome) -> str:
    return "XFAIL" if part.expected else part.status.value


def _explained(verdict: Verdict, style: Style, *, verbose: bool) -> str:
    word = outcome(verdict)
    told = word not in (Outcome.PASS, Outcome.SKIPPED)
    if not told and not (verbose and verdict.checks):
        return ""
    lines = [f"{style.paint(spaced(word), word.value)} {one_line(verdict.case_id)}"]
    for line in explain(verdict) if told else ():
        if line.topic is Topic.OUTPUT:
            kept = tail(line.text, 200 if verbose else _OUTPUT_LINES)
            lines.append(f"  {line.topic}:")
            lines.extend(f"    | {printed}" for printed in kept.split("\n"))
        elif line.topic is not Topic.NOTE:  # told once for all cases, below
            lines.append(_wrapped(f"{line.topic}: {line.text}", style.width, "  "))
    if verbose and verdict.checks:
        lines.append(textwrap.indent(check_table(verdict.checks, style), "  "))
    return "\n".join(lines)


def _says(verdict: Verdict) -> bool:
    """Whether the baseline's use is worth a line: no comparison took place, and nothing said so yet."""
    return (
        verdict.baseline_note not in ("", "compared", "ignored")
        and outcome(verdict) is Outcome.PASS  # others have told it in their own block
    )


def _grouped(label: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """One line a distinct text, with the cases it is true of."""
    groups: dict[str, list[str]] = {}
    for text, case_id in pairs:
        groups.setdefault(one_line(text), []).append(one_line(case_id))
    return [f"{label}: {text} ({', '.join(ids)})" for text, ids in groups.items()]


def _wrapped(text: str, width: int, indent: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width(table: str) -> int:
    return max(len(_ANSI.sub("", line)) for line in table.split("\n"))
