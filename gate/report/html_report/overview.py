"""The rows of the overview, the bar of counts, and the pictures of the legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.core.verdict import Verdict
from gate.report.explain import Topic, explain
from gate.report.figures import Figures, drop_text, drop_value, figures
from gate.report.format import quantity
from gate.report.html_report import svg
from gate.report.html_report.gauge import Reading, gauge
from gate.report.outcome import SEVERITY, Outcome, outcome, spaced
from gate.report.text import one_line
from gate.report.tiers import shown_tiers, tier_outcomes

_BAR_WIDTH = 1132.0
_LEAST = 6.0
_FIRST_LENGTH = 150
_FIND_LENGTH = 400

GLYPHS = {
    Outcome.PASS: "✓",
    Outcome.XFAIL: "✗",
    Outcome.FAIL: "✗",
    Outcome.ERROR: "!",
    Outcome.INCONCLUSIVE: "?",
    Outcome.SKIPPED: "\N{EN DASH}",
    Outcome.NOT_COMPARABLE: "≠",
}

FIGURES: tuple[tuple[str, str, Callable[[Figures], float | None]], ...] = (
    ("drop", "pp", drop_value),
    ("SQNR", "dB", lambda f: f.sqnr_db),
    ("relative MSE", "%", lambda f: f.relative_mse_percent),
    ("speed-up", "x", lambda f: f.speedup),
    ("smaller", "x", lambda f: f.size_ratio),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One row of the overview."""

    anchor: str
    """Where its details are; empty where there are none."""
    id: str
    key: str
    word: str
    first: str
    """What failed first, or why it was skipped."""
    find: str
    tiers: tuple[tuple[str, str, str], ...]
    """(tier, word, key); no word where nothing is demanded."""
    figures: tuple[tuple[str, str], ...]
    """(as shown, as sorted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A header of the overview."""

    title: str
    sort: str = ""
    number: bool = False


COLUMNS = (
    Column(title="result", sort="text"),
    Column(title="case", sort="text"),
    *(Column(title=tier.value) for tier in Tier),
    *(Column(title=title, sort="number", number=True) for title, _, _ in FIGURES),
)


def key_of(word: str) -> str:
    """Name of an outcome or status in the style sheet."""
    return word.lower()


def row_view(verdict: Verdict, result: CaseResult | None, anchor: str) -> RowView:
    """One case's row; ``anchor`` is empty where its details were left out."""
    word = outcome(verdict)
    lines = explain(verdict)
    told = [x for x in lines if x.topic in (Topic.FIRST, Topic.SKIPPED)]
    # What passes although it is expected to fail has no first failure.
    told = told or [x for x in lines if x.topic is Topic.EXPECTED]
    first = told[0].text if told and word is not Outcome.PASS else ""
    tiers = shown_tiers(result.case) if result is not None else tuple(Tier)
    parts = {part.tier: part for part in tier_outcomes(verdict, tiers)}
    words = [
        (tier.value, Outcome.XFAIL if part.expected else Outcome(part.status.value))
        if (part := parts.get(tier)) is not None
        else (tier.value, None)
        for tier in Tier
    ]
    numbers = figures(result)
    values = [(take(numbers), unit) for _, unit, take in FIGURES]
    written = [drop_text(numbers), *(quantity(value, unit) for value, unit in values[1:])]
    return RowView(
        anchor=anchor,
        id=one_line(verdict.case_id),
        key=key_of(word),
        word=spaced(word),
        first=first if len(first) <= _FIRST_LENGTH else f"{first[: _FIRST_LENGTH - 1]}…",
        find=find_text(verdict),
        tiers=tuple(
            (tier, spaced(said), key_of(said)) if said is not None else (tier, "", "")
            for tier, said in words
        ),
        figures=tuple(
            (text, f"{value:.6g}" if value is not None else "")
            for text, (value, _) in zip(written, values, strict=True)
        ),
    )


def find_text(verdict: Verdict) -> str:
    """What the search looks through: id, outcome and the rules that did not pass."""
    rules = dict.fromkeys(check.rule for check in verdict.checks if check.status is not Status.PASS)
    text = " ".join((verdict.case_id, spaced(outcome(verdict)), *rules))
    return one_line(text).lower()[:_FIND_LENGTH]


def tally(verdicts: Sequence[Verdict]) -> list[tuple[Outcome, int]]:
    """How many cases have each outcome, the worst first."""
    counted = Counter(outcome(verdict) for verdict in verdicts)
    return [(word, counted[word]) for word in SEVERITY if counted[word]]


def tally_bar(counts: Sequence[tuple[Outcome, int]]) -> Markup:
    """All cases as one bar; every outcome that occurs is wide enough to be seen."""
    total = sum(n for _, n in counts)
    if not total:
        return Markup("")
    room = _BAR_WIDTH - _LEAST * len(counts)
    x = 0.0
    parts = []
    for word, n in counts:
        wide = _LEAST + room * n / total
        mark = f"o-{key_of(word)}"
        parts.append(svg.tag("rect", x=x, y=0, width=max(wide - 2, 1), height=10, class_=mark))
        x += wide
    label = ", ".join(f"{n} {spaced(word)}" for word, n in counts)
    return svg.drawing(_BAR_WIDTH, 10, parts, label=label, class_="tally")


MEANINGS = {
    Outcome.PASS: "every check is within its bound",
    Outcome.XFAIL: "failed where the spec says that it fails",
    Outcome.FAIL: "a measurement is out of its bound, or a rule is broken",
    Outcome.ERROR: "nothing could be judged: a crash, a time-out, a broken file",
    Outcome.INCONCLUSIVE: "the noise leaves both pass and fail possible",
    Outcome.SKIPPED: "could not run here; the reason is given",
    Outcome.NOT_COMPARABLE: "passed, but its baseline was recorded under other conditions",
}


def meanings() -> list[tuple[str, str, str]]:
    """(key, word, meaning) of every outcome."""
    return [(key_of(word), spaced(word), MEANINGS[word]) for word in SEVERITY]


def gauge_legend() -> list[tuple[Markup, str]]:
    """(picture, meaning) of the parts of a gauge."""
    reading = Reading(value=31.0, bound=28.0, low=30.0, high=32.0, baseline=33.5)
    failed = Reading(value=26.5, bound=28.0)
    crowd = [Reading(value=30.0 + n / 4, bound=28.0) for n in (0, 3, 4, 6, 9, 10, 14)]
    apart = [Reading(value=30.0 + n, bound=28.0 + n / 2) for n in (0, 2, 3, 5)]
    return [
        (
            gauge([reading], op=Op.GE, unit="dB", status=Status.PASS),
            "disc: measured, with its interval; triangle: baseline; upright line: bound; the solid side is allowed",
        ),
        (
            gauge([failed], op=Op.GE, unit="dB", status=Status.FAIL),
            "cross: measured, out of bound",
        ),
        (
            gauge(crowd, op=Op.GE, unit="dB", status=Status.PASS),
            "ticks: the other layers of the same rule; the one nearest to its bound is the disc",
        ),
        (
            gauge(apart, op=Op.GE, unit="dB", status=Status.PASS),
            "each layer has a bound of its own: the axis counts from it",
        ),
    ]


def profile_legend() -> list[tuple[Markup, str]]:
    """(picture, meaning) of the marks of a layer profile."""
    line = [
        svg.line(2, 10, 58, 10, "p-now"),
        svg.tag("circle", cx=30, cy=10, r=3.5, class_="p-good"),
    ]
    cross = [svg.tag("path", d="M25 5l10 10m0-10l-10 10", class_="p-bad")]
    alone = [svg.tag("path", d="M30 6l4 8h-8z", class_="p-alone")]
    cells = [
        svg.tag("path", d="M4 5h14v10h-14z", class_="p-integer"),
        svg.tag("path", d="M23 5h14v10h-14z", class_="p-float"),
        svg.tag("path", d="M42 5h14v10h-14z", class_="p-missing"),
    ]
    drawn = [
        (line, "cumulative: in the running model, errors of earlier layers included"),
        (alone, "isolated: the layer alone, fed with the reference's own inputs"),
        ([svg.line(2, 10, 58, 10, "p-then")], "cumulative, when the baseline was accepted"),
        ([svg.line(2, 10, 58, 10, "p-bound")], "least that the spec allows for this layer"),
        (cross, "a layer that failed a check"),
        (cells, "below the chart: in integers, left in float, missing"),
    ]
    return [
        (svg.drawing(60, 20, parts, label=meaning.split(":")[0], class_="key"), meaning)
        for parts, meaning in drawn
    ]
