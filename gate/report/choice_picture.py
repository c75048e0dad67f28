"""The front of a search, bytes against accuracy, as a picture. Needs the extra ``html``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gate.core.case import Case
from gate.core.choice import Choice, Tried
from gate.judge.wording import count
from gate.report.choice import front, measured
from gate.report.format import quantity
from gate.report.html_report.scale import fitted
from gate.report.html_report.svg import drawing, line, path, tag, text

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _HEIGHT = 720.0, 366.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 72.0, 696.0, 28.0, 320.0
_HEAD = 46
"""Pixels for what a file says above the drawing."""
_STYLE = """
svg{background:#fff;font:12px system-ui,sans-serif}
text{fill:#24292f}.quiet{fill:#57606a}
.axis{stroke:#d0d7de}.grid{stroke:#eaeef2}.limit{stroke:#cf222e;stroke-dasharray:4 3}
.front{fill:none;stroke:#0969da}.tried{fill:#afb8c1}.best{fill:#0969da}.uniform{fill:#bf8700}
.chosen{fill:none;stroke:#1a7f37;stroke-width:2.5}
@media (prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.quiet{fill:#8b949e}
.axis{stroke:#30363d}.grid{stroke:#21262d}.tried{fill:#6e7681}.front{stroke:#58a6ff}.best{fill:#58a6ff}}
"""


def svg(case: Case, choice: Choice) -> str:
    """The front as a file that opens by itself."""
    head = [
        tag("style", _STYLE),
        text(16, 20, case.id),
        text(16, 36, choice.remark, class_="quiet"),
    ]
    legend = "yellow: every layer quantized; blue: the front; ring: chosen"
    foot = [text(16, _BOTTOM + _HEAD + 62, legend, class_="quiet")]
    moved = tag("g", *_plot(choice), transform=f"translate(0 {_HEAD})")
    parts = [*head, moved, *foot]
    whole = drawing(_WIDTH, _HEIGHT + _HEAD + 22, parts, label=_told(case, choice), class_="choice")
    return str(whole).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def plot(case: Case, choice: Choice) -> Markup:
    """The same for a page, which has the style and says what the colours mean."""
    return drawing(_WIDTH, _HEIGHT, _plot(choice), label=_told(case, choice), class_="choice")


def _told(case: Case, choice: Choice) -> str:
    """What a screen reader says."""
    one = choice.taken
    chosen = f"{quantity(one.size_bytes, 'B')}, {quantity(one.figures.get('sqnr'), 'dB')}"
    mixtures = f"{count(len(measured(choice)), 'mixture')} of {case.id}"
    return f"accuracy over bytes of {mixtures}; chosen: {one.name}, {chosen}"


def _plot(choice: Choice) -> list[Markup]:
    """All mixtures that were measured: bytes across, SQNR of the worst output upwards."""
    points = measured(choice)
    across = [size for size, _ in points.values()]
    if choice.limit_bytes is not None:
        across.append(float(choice.limit_bytes))
    x = fitted(across, _LEFT, _RIGHT, log=False)
    y = fitted((sqnr for _, sqnr in points.values()), _BOTTOM, _TOP, log=False)
    parts = [
        text(16, _TOP - 8, "SQNR of the worst output", class_="quiet"),
    ]
    for value in x.ticks():
        parts.append(line(x(value), _TOP, x(value), _BOTTOM, "grid"))
        parts.append(text(x(value), _BOTTOM + 18, quantity(value, "B"), anchor="middle"))
    for value in y.ticks():
        parts.append(line(_LEFT, y(value), _RIGHT, y(value), "grid"))
        parts.append(text(_LEFT - 8, y(value) + 4, quantity(value, "dB"), anchor="end"))
    parts += [
        line(_LEFT, _TOP, _LEFT, _BOTTOM, "axis"),
        line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"),
    ]
    if choice.limit_bytes is not None:
        at = x(float(choice.limit_bytes))
        parts.append(line(at, _TOP, at, _BOTTOM + 6, "limit"))
        parts.append(text(at, _BOTTOM + 38, "budget", class_="quiet", anchor="middle"))
    # Beside the budget's name, whichever side that is on.
    right = choice.limit_bytes is None or x(float(choice.limit_bytes)) < (_LEFT + _RIGHT) / 2
    end, anchor = (_RIGHT, "end") if right else (_LEFT, "start")
    parts.append(text(end, _BOTTOM + 38, "bytes of the file", class_="quiet", anchor=anchor))
    best = front(choice)
    parts.append(path(((x(points[i][0]), y(points[i][1])) for i in best), "front"))
    for index, (size, sqnr) in points.items():
        kind = "uniform" if index == 0 else "best" if index in best else "tried"
        parts.append(_dot(x(size), y(sqnr), 3.5, kind, choice.tried[index]))
    if choice.chosen in points:
        size, sqnr = points[choice.chosen]
        parts.append(_dot(x(size), y(sqnr), 8, "chosen", choice.taken))
    return parts


def _dot(x: float, y: float, radius: float, class_: str, one: Tried) -> Markup:
    figures = ", ".join(f"{name} {value:.3g}" for name, value in one.figures.items())
    title = tag("title", f"{one.name}: {quantity(one.size_bytes, 'B')}, {figures}")
    return tag("circle", title, cx=x, cy=y, r=radius, class_=class_)
