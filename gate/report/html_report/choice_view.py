"""What a ladder or a search tried and took: a table, and of a search the front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.core.case import Case
from gate.core.choice import Choice, Tried
from gate.report.choice import measured, shown
from gate.report.choice_picture import plot
from gate.report.format import quantity, seconds
from gate.report.text import one_line

if TYPE_CHECKING:
    from markupsafe import Markup

COLUMNS = ("size", "SQNR", "top-1 drop", "speed-up", "took")
_LEAST_POINTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """One rung, or one mixture."""

    chosen: bool
    name: str
    why: str
    """What it does not hold; empty where it holds."""
    cells: tuple[str, ...]
    """One of ``COLUMNS`` each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceView:
    """What the template needs of a choice."""

    summary: str
    picture: Markup | None
    """None for a ladder, and where there is nothing to draw."""
    has_budget: bool
    rows: tuple[TriedRow, ...]
    left_out: int
    """Mixtures off the front, which the table leaves out and the picture has."""
    kept: tuple[str, ...]
    """Layers that the chosen one leaves in float."""


def choice_view(case: Case, choice: Choice) -> ChoiceView:
    """Word and draw one choice."""
    rows = tuple(_row(one, chosen=index == choice.chosen) for index, one in shown(choice))
    parts = [
        f"{choice.how} on {choice.samples} {choice.on} samples, {seconds(choice.seconds)}",
        choice.remark,
        "" if choice.met else "it does not hold what was demanded",
        "it stopped before it was done" if choice.out_of_time else "",
    ]
    drawn = choice.how == "search" and len(measured(choice)) >= _LEAST_POINTS
    return ChoiceView(
        summary=one_line("; ".join(part for part in parts if part)),
        picture=plot(case, choice) if drawn else None,
        has_budget=choice.limit_bytes is not None,
        rows=rows,
        left_out=len(choice.tried) - len(rows),
        kept=tuple(map(one_line, choice.taken.kept)),
    )


def _row(one: Tried, *, chosen: bool) -> TriedRow:
    figures = one.figures
    return TriedRow(
        chosen=chosen,
        name=one_line(one.name),
        why="" if one.holds else one_line(one.why),
        cells=(
            quantity(one.size_bytes, "B"),
            quantity(figures.get("sqnr"), "dB"),
            quantity(figures.get("top1_drop"), "pp"),
            quantity(figures.get("speedup"), "x"),
            seconds(one.seconds),
        ),
    )
