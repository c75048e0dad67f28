"""A metric of a case over the commits of the repository, as a picture. Needs the extra ``html``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gate.baseline.log import Point
from gate.core.status import Tier
from gate.judge.wording import shown
from gate.metrics.catalogue import BY_NAME
from gate.report.history import Key, commit, why
from gate.report.html_report.scale import Scale, fitted
from gate.report.html_report.svg import drawing, line, path, tag, text

_WIDTH, _HEIGHT = 860.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 90.0, 40.0, 40.0, 62.0
_NAMES = 9
"""Commits that are named at most: a date takes some 70 pixels."""
_STYLE = """
svg{background:#fff;font:12px system-ui,sans-serif}
text{fill:#24292f}.quiet{fill:#57606a}
.axis{stroke:#d0d7de}.line{fill:none;stroke:#0969da;stroke-width:2}
.dot{fill:#0969da}.dot-new{fill:#fff;stroke:#0969da;stroke-width:2}
@media (prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.quiet{fill:#8b949e}
.axis{stroke:#30363d}.line{stroke:#58a6ff}.dot{fill:#58a6ff}.dot-new{fill:#0d1117;stroke:#58a6ff}}
"""


def svg(title: str, found: Mapping[Key, Sequence[Point]]) -> str:
    """One picture with a panel a subject, commits from left to right; opens by itself."""
    panels: list[str] = [tag("style", _STYLE), text(16, 22, title)]
    for number, (key, points) in enumerate(found.items()):
        panels += _panel(key, points, top=30 + number * _HEIGHT)
    height = 30 + _HEIGHT * max(len(found), 1)
    picture = drawing(_WIDTH, height, panels, label=title, class_="history")
    # A plain string from here on: markup would escape what is put in.
    return str(picture).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _panel(key: Key, points: Sequence[Point], *, top: float) -> list[str]:
    metric, subject, unit = key
    y = fitted((p.value for p in points), top + _HEIGHT - _BOTTOM, top + _TOP)
    x = Scale(low=0, high=max(len(points) - 1, 1), start=_LEFT, end=_WIDTH - _RIGHT)
    parts: list[str] = [text(_LEFT, top + 24, f"{metric} of {subject}, {_direction(metric)}")]
    for tick in y.ticks():
        parts.append(line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), "axis"))
        parts.append(text(_LEFT - 8, y(tick) + 4, shown(tick, unit), class_="quiet", anchor="end"))
    parts.append(path([(x(i), y(p.value)) for i, p in enumerate(points)], "line"))
    labelled = _labelled(len(points))
    for index, point in enumerate(points):
        told = f"{shown(point.value, unit)}, {point.at.date[:10]}, {commit(point)}: {why(point)}"
        kind = "dot" if point.at.commit is not None else "dot-new"
        parts.append(
            tag("circle", tag("title", told), cx=x(index), cy=y(point.value), r=4, class_=kind)
        )
        if index in labelled:
            below = top + _HEIGHT - _BOTTOM
            for shift, label in ((18, point.at.date[:10]), (34, commit(point))):
                parts.append(text(x(index), below + shift, label, class_="quiet", anchor="middle"))
    return parts


def _labelled(total: int) -> set[int]:
    """Which of so many commits are named below the drawing: the last one, and as many evenly before
    it as there is room for."""
    every = math.ceil(total / _NAMES)
    return set(range(total - 1, -1, -every))


def _direction(metric: str) -> str:
    tier, _, name = metric.partition(".")
    info = BY_NAME.get((Tier(tier), name))
    return f"{info.direction} is better" if info is not None else "a metric of the past"
