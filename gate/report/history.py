"""A metric of a case over the commits of the repository, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gate.baseline.log import Point
from gate.judge.wording import shown
from gate.report.grid import grid
from gate.report.text import one_line

Key = tuple[str, str, str]
"""(tier.metric, subject, unit)"""

_BAR = 24
_COMMIT = 9


def terminal(found: Mapping[Key, Sequence[Point]]) -> str:
    """One table a subject, a bar a commit: the longer, the larger the value."""
    blocks = []
    for (metric, subject, unit), points in found.items():
        values = [point.value for point in points]
        rows = [
            (
                point.at.date[:10],
                commit(point),
                shown(point.value, unit),
                "#" * _length(point.value, values),
                one_line(why(point)),
            )
            for point in points
        ]
        headers = ("accepted", "commit", "value", "", "reason")
        blocks.append(f"{metric} of {subject}\n{grid(headers, rows, right={2})}")
    return "\n\n".join(blocks) + "\n"


def commit(point: Point) -> str:
    """The commit that a value came with, short."""
    return point.at.commit[:_COMMIT] if point.at.commit is not None else "(new)"


def why(point: Point) -> str:
    """The reason that was given for a value."""
    accepted = point.at.baseline
    return accepted.provenance.reason if accepted is not None else point.at.subject


def _length(value: float, values: Sequence[float]) -> int:
    low, high = min(values), max(values)
    return round(1 + (_BAR - 1) * (value - low) / (high - low)) if high > low else _BAR // 2
