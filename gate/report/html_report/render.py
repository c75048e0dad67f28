"""The whole page: fits cases into the size limit, fills the templates, and forbids it everything else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from gate import __version__
from gate.core.baseline import Baseline
from gate.core.canonical import JsonValue
from gate.core.case import NotApplicable
from gate.core.flips import Flips
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.summary import summarize
from gate.judge.wording import count
from gate.report.format import quantity
from gate.report.html_report import overview
from gate.report.html_report.case_view import Level, case_view
from gate.report.html_report.choice_view import COLUMNS
from gate.report.html_report.fit import Budget, fitted_sections
from gate.report.outcome import SEVERITY, Outcome, counts_line, outcome, spaced
from gate.report.text import one_line

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_BYTES = 3_000_000
"""The page stays below this, pictures included: it is mailed, attached and opened on a telephone."""
_OPEN = 4
"""Details of so many cases that are no plain pass are open from the start."""
_ROW_SHARE = 0.6
"""Of the limit, for the overview of very many cases."""
_ASSETS = Path(__file__).with_name("assets")
_CALM = (Outcome.PASS, Outcome.XFAIL, Outcome.SKIPPED)


def render(
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    baselines: Mapping[str, Baseline] | None = None,
    flips: Mapping[str, Flips] | None = None,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Write the report as one HTML document of at most ``max_bytes`` bytes of UTF-8.

    It needs no network and no script: everything is drawn here, and a script only adds filters and
    a closer look. The same verdicts give the same bytes. Where the limit is too small, pictures of
    inputs go first, then layer by layer views, then the details of cases and last rows of the
    overview, each from the mildest case upwards; the page says what was left out.

    Args:
        verdicts: one a case, in the order of the plan.
        results: what was judged; a case without one shows its verdict alone.
        not_applicable: pairs of the matrix that cannot exist.
        baselines: case id -> the baseline that it was compared with.
        flips: case id -> samples whose answer flipped.
        max_bytes: the limit.
    """
    templates = _templates()
    macros = templates.get_template("case.html").make_module(_names())
    by_id = {result.case.id: result for result in results}
    anchors = {id(verdict): f"case-{n}" for n, verdict in enumerate(verdicts, start=1)}
    ordered = sorted(verdicts, key=lambda verdict: SEVERITY.index(outcome(verdict)))
    opened = {id(v) for v in [v for v in ordered if outcome(v) not in _CALM][:_OPEN]}

    views: list[overview.RowView] = []

    def row(verdict: Verdict) -> str:
        view = overview.row_view(verdict, by_id.get(verdict.case_id), anchors[id(verdict)])
        views.append(view)
        return str(macros.row(view))  # type: ignore[attr-defined]

    def section(verdict: Verdict, level: Level) -> str:
        view = case_view(
            anchors[id(verdict)],
            verdict,
            by_id.get(verdict.case_id),
            # One that could not be compared with is named by the checks, and nowhere drawn.
            baseline=(baselines or {}).get(verdict.case_id)
            if verdict.baseline_note.startswith("compared")
            else None,
            flips=(flips or {}).get(verdict.case_id),
            level=level,
        )
        return str(macros.case(view, id(verdict) in opened, _script_json(view.layer_data())))  # type: ignore[attr-defined]

    def page(rows: Sequence[str], sections: Sequence[str], notices: Sequence[str]) -> str:
        return _page(
            templates, verdicts, not_applicable, rows=rows, sections=sections, notices=notices
        )

    frame = len(page((), (), ["x" * 1000]).encode())
    budget = Budget(max_bytes - frame)
    rows = budget.prefix(map(row, ordered), limit=int((max_bytes - frame) * _ROW_SHARE))
    kept = len(rows)
    urgent = sum(outcome(verdict) not in _CALM for verdict in ordered[:kept])
    fitted = fitted_sections(ordered[:kept], section, budget, urgent=urgent)
    shown = [
        text if level > Level.ROW else str(macros.row(replace(view, anchor="")))  # type: ignore[attr-defined]
        for text, view, level in zip(rows, views, fitted.levels, strict=False)
    ]
    notices = _notices(ordered, kept, fitted.levels, max_bytes)
    return page(shown, fitted.sections, notices)


def _page(
    templates: Environment,
    verdicts: Sequence[Verdict],
    not_applicable: Sequence[NotApplicable],
    *,
    rows: Sequence[str],
    sections: Sequence[str],
    notices: Sequence[str],
) -> str:
    counts = overview.tally(verdicts)
    overall = summarize(verdicts).status
    style, script = _asset("style.css"), _asset("script.js")
    names = _names()
    return templates.get_template("page.html").render(
        **names,
        version=__version__,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - the package's own file
        script=Markup(script),  # noqa: S704 - the package's own file
        worst=overview.key_of(overall),
        headline=f"Gate: {spaced(overall)}" if counts else "Gate: nothing ran",
        counts_line=counts_line(verdicts, len(not_applicable)),
        bar=overview.tally_bar(counts),
        tally=[
            {"key": overview.key_of(word), "word": spaced(word), "count": n} for word, n in counts
        ],
        columns=overview.COLUMNS,
        rows=Markup("".join(rows)),  # noqa: S704 - rendered by the macro, which escapes
        sections=Markup("".join(sections)),  # noqa: S704 - as above
        notices=notices,
        said=_said(verdicts),
        not_applicable=[
            {"id": one_line(pair.id), "reason": one_line(pair.reason)} for pair in not_applicable
        ],
        not_applicable_title=f"{count(len(not_applicable), 'pair')} not applicable",
        meanings=overview.meanings(),
        gauge_legend=overview.gauge_legend(),
        profile_legend=overview.profile_legend(),
    )


def _said(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str]]:
    """(kind, text, cases) of skips and notes, told once for all cases."""
    groups: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        told = [("note", note) for note in verdict.notes]
        if verdict.skipped is not None:
            told.append(("skipped", verdict.skipped))
        for kind, text in told:
            groups.setdefault((kind, one_line(text)), []).append(one_line(verdict.case_id))
    return [
        (kind, text, ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else ""))
        for (kind, text), ids in groups.items()
    ][:_SAID]


_SAID = 50


def _notices(
    ordered: Sequence[Verdict], kept: int, levels: Sequence[Level], max_bytes: int
) -> list[str]:
    notices = []
    if kept < len(ordered):
        notices.append(f"{count(len(ordered) - kept, 'case')} are not listed at all")
    for level, what in (
        (Level.ROW, "shown by a row alone"),
        (Level.CHECKS, "shown without layer by layer view, latencies, changes and what was tried"),
        (Level.LAYERS, "shown without pictures of inputs"),
    ):
        words = [outcome(ordered[i]) for i in range(kept) if levels[i] is level]
        if words:
            mildest = "; all of them passed" if set(words) == {Outcome.PASS} else ""
            notices.append(f"{count(len(words), 'case')} {what}{mildest}")
    if not notices:
        return []
    size = quantity(float(max_bytes), "B")
    text = ", ".join(notices)
    return [
        (
            f"To stay below {size} this page leaves things out, the mildest first: {text}. "
            "The JSON report and the run's files have everything; so does a report of fewer cases."
        )
    ]


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _names() -> dict[str, object]:
    """What both templates look words, signs and colours up in."""
    return {
        "glyphs": {overview.key_of(word): overview.GLYPHS[word] for word in Outcome},
        "words": {word.value: spaced(word) for word in Outcome},
        "keys": {word.value: overview.key_of(word) for word in Outcome},
        "choice_columns": COLUMNS,
        "decibel": lambda value: quantity(value, "dB") if value is not None else "",
    }


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, sent or framed; one style sheet and one script, known by their hashes."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _script_json(value: JsonValue) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - the four characters that matter are gone
