"""How a case differs from its baseline, as rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gate.baseline.diff import ValueChange, diff
from gate.baseline.make import make_baseline
from gate.core.baseline import Baseline
from gate.core.case import Case
from gate.core.observation import Observation
from gate.report.format import apart
from gate.report.text import one_line

ROWS_SHOWN = 40
_DIGEST = re.compile(r"\b[0-9a-f]{40,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRow:
    """One metric that changed."""

    metric: str
    subject: str
    old: str
    new: str
    percent: str
    word: str
    """``better``, ``worse`` or empty."""
    noisy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A baseline and what is different now."""

    accepted: str
    reason: str
    values: tuple[ValueRow, ...]
    values_left_out: int
    layers: tuple[tuple[str, str], ...]
    layers_left_out: int
    facts: tuple[tuple[str, str, str], ...]

    @property
    def none(self) -> bool:
        """Whether everything is as it was accepted."""
        return not (self.values or self.layers or self.facts)


def changes(case: Case, seen: Observation, baseline: Baseline) -> Changes:
    """Compare now with then: the worse first, then the new, the better, and what is noisy by nature."""
    who = baseline.provenance
    found = diff(baseline, make_baseline(case, seen, who))
    ordered = sorted(found.values, key=_weight)
    return Changes(
        accepted=f"{who.date} by {one_line(who.author)}, commit {_short(who.commit)}",
        reason=one_line(who.reason),
        values=tuple(_row(change) for change in ordered[:ROWS_SHOWN]),
        values_left_out=max(0, len(ordered) - ROWS_SHOWN),
        layers=tuple((one_line(n), one_line(what)) for n, what in found.layers[:ROWS_SHOWN]),
        layers_left_out=max(0, len(found.layers) - ROWS_SHOWN),
        facts=tuple(
            (f.what, _short(one_line(f.old)), _short(one_line(f.new))) for f in found.facts
        ),
    )


def _weight(change: ValueChange) -> tuple[bool, int, float]:
    order = {False: 0, None: 1, True: 2}[change.better]
    return change.noisy, order, -abs(_percent(change) or 0.0)


def _percent(change: ValueChange) -> float | None:
    if change.old is None or change.new is None or not change.old:
        return None
    return 100.0 * (change.new - change.old) / abs(change.old)


def _row(change: ValueChange) -> ValueRow:
    old, new = apart(change.old, change.new, change.unit)
    percent = _percent(change)
    return ValueRow(
        metric=f"{change.tier}.{change.metric}",
        subject="" if change.subject == "case" else one_line(change.subject),
        old=old,
        new=new,
        percent=f"{percent:+.2g} %" if percent is not None and abs(percent) < 1e4 else "",
        word={True: "better", False: "worse", None: ""}[change.better],
        noisy=change.noisy,
    )


def _short(text: str) -> str:
    return _DIGEST.sub(lambda found: found[0][:12], text)
