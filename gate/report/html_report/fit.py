"""How much of each case goes into a page of limited size: the worst cases keep most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gate.core.verdict import Verdict
from gate.report.html_report.case_view import Level

Section = Callable[[Verdict, Level], str]


class Budget:
    """Bytes that may still be written."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """Spend ``size`` bytes (fewer than none gives some back); False, and unspent, where they are
        not there."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def prefix(self, parts: Iterable[str], *, limit: int) -> list[str]:
        """The first parts, as many as fit into ``limit`` bytes; those are spent, and no more are
        asked for."""
        kept: list[str] = []
        spent = 0
        for part in parts:
            size = len(part.encode())
            if spent + size > limit or not self.take(size):
                break
            spent += size
            kept.append(part)
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The details that fit."""

    sections: tuple[str, ...]
    levels: tuple[Level, ...]
    """One a case, in the order given."""


def fitted_sections(
    ordered: Sequence[Verdict], section: Section, budget: Budget, *, urgent: int
) -> Fitted:
    """Give every case as much as fits: all if that is possible, else in rounds.

    The first ``urgent`` cases get their checks and layers, then the others their checks, then
    pictures and layers follow. A round ends at the first case that does not fit, so that no milder
    case shows more than a worse one.
    """
    written = _Written(ordered, section)
    sizes = 0
    for index in range(len(ordered)):
        sizes += written.size(index, Level.FULL)
        if sizes > budget.left:
            levels = _levels(len(ordered), urgent, written, budget)
            break
    else:
        budget.take(sizes)
        levels = [Level.FULL] * len(ordered)
    sections = tuple(written.text(index, level) for index, level in enumerate(levels))
    return Fitted(sections=sections, levels=tuple(levels))


class _Written:
    """Sections that were written once, by case and level."""

    def __init__(self, ordered: Sequence[Verdict], section: Section) -> None:
        self._ordered = ordered
        self._section = section
        self._texts: dict[tuple[int, Level], str] = {}

    def text(self, index: int, level: Level) -> str:
        if level is Level.ROW:
            return ""
        key = (index, level)
        if key not in self._texts:
            self._texts[key] = self._section(self._ordered[index], level)
        return self._texts[key]

    def size(self, index: int, level: Level) -> int:
        return len(self.text(index, level).encode())


def _levels(cases: int, urgent: int, written: _Written, budget: Budget) -> list[Level]:
    levels = [Level.ROW] * cases
    bad, mild = range(urgent), range(urgent, cases)
    for which, level in (
        (bad, Level.CHECKS),
        (bad, Level.LAYERS),
        (mild, Level.CHECKS),
        (bad, Level.FULL),
        (mild, Level.LAYERS),
        (mild, Level.FULL),
    ):
        for index in which:
            fits = levels[index] == level - 1 and budget.take(
                written.size(index, level) - written.size(index, levels[index])
            )
            if not fits:
                break
            levels[index] = level
    # A case without pictures has everything already.
    return [
        Level.FULL
        if level is Level.LAYERS and written.text(i, level) == written.text(i, Level.FULL)
        else level
        for i, level in enumerate(levels)
    ]
