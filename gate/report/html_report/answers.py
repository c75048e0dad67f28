"""Top-1 answers of both sides over the evaluation samples, and the samples that flipped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.core.flipped import FlipsCompared
from gate.core.flips import Flips
from gate.core.observation import Observation
from gate.judge.wording import count, names
from gate.report.format import quantity
from gate.report.html_report import svg

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 540.0, 58.0
_TINY = 48
_LEAST = 3.0
"""Pixels that even a single sample gets, so that it is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipCard:
    """One flipped sample to show."""

    sample: int
    index: int
    label: int
    reference: int
    candidate: int
    word: str
    """``lost`` or ``gained``."""
    source: str
    """A data URI, or empty."""
    alt: str
    tiny: bool
    """Whether the picture has so few pixels that smoothing would blur it away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Correctness of both sides, sample by sample."""

    picture: Markup
    rows: tuple[tuple[str, int, str], ...]
    """(what, samples, share)."""
    cards: tuple[FlipCard, ...]
    cards_left_out: int
    against: str
    """How the lost samples differ from those that the baseline had lost; empty where unknown."""
    note: str


def answers(
    seen: Observation, flips: Flips | None, compared: Sequence[FlipsCompared], *, pictures: bool
) -> Answers | None:
    """Count right and wrong answers; None where the data has no labels."""
    task = seen.task
    if task is None or not task.reference_top1:
        return None
    pairs = list(zip(task.reference_top1, task.candidate_top1, strict=False))
    total = len(pairs)
    counts = {
        "both right": pairs.count(("1", "1")),
        "lost: right only in the reference": pairs.count(("1", "0")),
        "gained: right only in the candidate": pairs.count(("0", "1")),
        "both wrong": pairs.count(("0", "0")),
    }
    kept = flips.kept if flips is not None else ()
    flipped = pairs.count(("1", "0")) + pairs.count(("0", "1"))
    note = flips.why_no_pictures if flips is not None else ""
    if flips is None and flipped:
        note = "the run kept no record of the flipped samples"
    return Answers(
        picture=_bar(list(counts.values()), total),
        rows=tuple((what, n, quantity(100.0 * n / total, "%")) for what, n in counts.items()),
        cards=tuple(
            FlipCard(
                sample=flip.sample,
                index=flip.index,
                label=flip.label,
                reference=flip.reference,
                candidate=flip.candidate,
                word="lost" if flip.lost else "gained",
                source=f"data:image/png;base64,{flip.png}" if flip.png and pictures else "",
                tiny=flip.png is not None and _width(flip.png) < _TINY,
                alt=f"input of sample {flip.sample}, class {flip.label}",
            )
            for flip in kept
        ),
        cards_left_out=max(0, flipped - len(kept)) if kept else 0,
        against=_against(compared),
        note=note,
    )


def _against(compared: Sequence[FlipsCompared]) -> str:
    top1 = next((c for c in compared if c.metric == "top1" and c.accepted is not None), None)
    if top1 is None:
        return ""
    if not (top1.new or top1.gone or top1.now.lost):
        return "no sample is lost, as in the baseline"
    if not (top1.new or top1.gone):
        return "the samples that are lost are those of the baseline"
    parts = [
        f"{count(len(samples), 'sample')} {what} ({names([str(i) for i in samples], limit=12)})"
        for what, samples in (("newly lost", top1.new), ("no longer lost", top1.gone))
        if samples
    ]
    return f"against the baseline {' and '.join(parts)}"


def _width(png: str) -> int:
    """Pixels in a row, from a PNG's header."""
    return int.from_bytes(base64.b64decode(png[:32])[16:20], "big")


def _bar(counts: list[int], total: int) -> Markup:
    """One bar of all samples; each part that is not empty is at least a few pixels wide."""
    least = [_LEAST if n else 0.0 for n in counts]
    room = WIDTH - sum(least)
    parts: list[Markup] = []
    x = 0.0
    for n, floor, name in zip(counts, least, ("both", "lost", "gained", "neither"), strict=True):
        wide = floor + room * n / total
        if n:
            parts.append(svg.tag("rect", x=x, y=4, width=wide, height=24, class_=f"a-{name}"))
        x += wide
    lost, gained = counts[1], counts[2]
    label = f"{count(total, 'sample')}: {lost} lost, {gained} gained"
    parts.append(svg.text(0, 48, label, class_="p-text"))
    return svg.drawing(WIDTH, HEIGHT, parts, label=label, class_="answers")
