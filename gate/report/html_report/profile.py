"""The error of every layer over the order of execution, drawn: now, alone, and in the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.judge.wording import count
from gate.metrics.elementwise import SQNR_LIMIT_DB
from gate.report.format import quantity
from gate.report.html_report import svg
from gate.report.html_report.layer_facts import LayerFact
from gate.report.html_report.scale import Scale, fitted

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 1000.0, 268.0
_LEFT, _RIGHT = 48.0, 12.0
_TOP, _BOTTOM = 22.0, 200.0
_RIBBON = 210.0
_RIBBON_HEIGHT = 12.0
_LABELS = 240.0
_TITLE = 260.0
_TITLE_END = 330.0
"""Where the words above the drawing end."""
_EXACT = SQNR_LIMIT_DB - 1.0
"""No error at all is drawn at the upper edge rather than stretching the axis to 200 dB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The drawing and what a script needs to find a layer in it."""

    picture: Markup
    left: float
    band: float
    """Pixels a layer."""
    has_isolated: bool
    has_baseline: bool
    has_bounds: bool
    has_float: bool
    summary: str


def profile(layers: Sequence[LayerFact], first_bad: str | None) -> Profile | None:
    """Draw the layers' SQNR; None where no layer has one."""
    values = [
        value
        for layer in layers
        for value in (layer.sqnr, layer.isolated, layer.baseline, layer.bound)
        if value is not None and abs(value) < _EXACT
    ]
    if not any(layer.sqnr is not None for layer in layers):
        return None
    # Decibels are logarithms already.
    y = fitted(values or [0.0, 1.0], _BOTTOM, _TOP, margin=0.06, log=False)
    band = (WIDTH - _LEFT - _RIGHT) / len(layers)
    parts = [
        *_grid(y),
        *_ribbon(layers, band),
        *_bounds(layers, band, y),
        *_series(layers, band, y),
        *_first_bad(layers, band, first_bad),
        *_numbers(len(layers), band),
        svg.line(_LEFT, _TOP, _LEFT, _BOTTOM, "p-cursor"),
    ]
    summary = _summary(layers)
    return Profile(
        picture=svg.drawing(WIDTH, HEIGHT, parts, label=summary, class_="profile"),
        left=_LEFT,
        band=band,
        has_isolated=any(layer.isolated is not None for layer in layers),
        has_baseline=any(layer.baseline is not None for layer in layers),
        has_bounds=any(layer.bound is not None for layer in layers),
        has_float=any(layer.kind == "float" for layer in layers),
        summary=summary,
    )


def _middle(index: int, band: float) -> float:
    return _LEFT + (index + 0.5) * band


def _grid(y: Scale) -> Iterator[Markup]:
    for tick in y.ticks(5):
        at = y(tick)
        yield svg.line(_LEFT, at, WIDTH - _RIGHT, at, "p-grid")
        yield svg.text(_LEFT - 6, at + 4, quantity(tick, ""), class_="p-text", anchor="end")
    yield svg.text(4, 12, "SQNR of the layer's output (dB), higher is better", class_="p-text")


def _ribbon(layers: Sequence[LayerFact], band: float) -> Iterator[Markup]:
    """Cells under the axis: filled for integers, hollow for floating point, crossed where missing."""
    gap = min(1.0, band * 0.15)
    for kind in ("integer", "float", "missing"):
        cells = "".join(
            f"M{svg.number(_LEFT + i * band + gap)} {_RIBBON:g}h{svg.number(band - 2 * gap)}"
            f"v{_RIBBON_HEIGHT:g}h-{svg.number(band - 2 * gap)}z"
            for i, layer in enumerate(layers)
            if layer.kind == kind
        )
        if cells:
            yield svg.tag("path", d=cells, class_=f"p-{kind}")


def _bounds(layers: Sequence[LayerFact], band: float, y: Scale) -> Iterator[Markup]:
    steps = "".join(
        f"M{svg.number(_LEFT + i * band)} {svg.number(y(layer.bound))}h{svg.number(band)}"
        for i, layer in enumerate(layers)
        if layer.bound is not None
    )
    if steps:
        yield svg.tag("path", d=steps, class_="p-bound")


def _series(layers: Sequence[LayerFact], band: float, y: Scale) -> Iterator[Markup]:
    def points(values: Sequence[float | None]) -> list[tuple[float, float]]:
        # Layers between two that were observed may have no value: the line passes them by.
        return [(_middle(i, band), y(v)) for i, v in enumerate(values) if v is not None]

    then = points([layer.baseline for layer in layers])
    if then:
        yield svg.path(then, "p-then")
    alone = points([layer.isolated for layer in layers])
    if alone:
        yield svg.tag("path", d="".join(map(_triangle, alone)), class_="p-alone")
    yield svg.path(points([layer.sqnr for layer in layers]), "p-now")
    good = points([None if layer.failed else layer.sqnr for layer in layers])
    bad = points([layer.sqnr if layer.failed else None for layer in layers])
    size = min(3.5, max(1.5, band * 0.3))
    if good:
        yield svg.tag("path", d="".join(_disc(p, size) for p in good), class_="p-good")
    if bad:
        yield svg.tag("path", d="".join(_cross(p, size + 1) for p in bad), class_="p-bad")


def _disc(point: tuple[float, float], r: float) -> str:
    x, y, size = svg.number(point[0] - r), svg.number(point[1]), svg.number(r)
    turn = f"a{size} {size} 0 1 0 "
    return f"M{x} {y}{turn}{svg.number(2 * r)} 0{turn}-{svg.number(2 * r)} 0z"


def _cross(point: tuple[float, float], r: float) -> str:
    x, y, step = svg.number(point[0] - r), svg.number(point[1] - r), svg.number(2 * r)
    return f"M{x} {y}l{step} {step}m0-{step}l-{step} {step}"


def _triangle(point: tuple[float, float]) -> str:
    return f"M{svg.number(point[0])} {svg.number(point[1] - 4)}l3.5 6.5h-7z"


def _first_bad(layers: Sequence[LayerFact], band: float, first_bad: str | None) -> Iterator[Markup]:
    index = next((i for i, layer in enumerate(layers) if layer.name == first_bad), None)
    if index is None:
        return
    at = _middle(index, band)
    yield svg.line(at, _TOP - 4, at, _BOTTOM, "p-first")
    # Above the drawing, beside its title: on it the words would hide other layers.
    anchor = "start" if at < WIDTH / 2 else "end"
    label = f"first bad: {_short(layers[index].name)}"
    yield svg.text(max(at, _TITLE_END), 12, label, class_="p-label", anchor=anchor)


def _numbers(total: int, band: float) -> Iterator[Markup]:
    """Places in the order of execution, as many as there is room for."""
    step = next(
        (s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if s * band >= 28), max(total, 1)
    )
    for place in sorted({1, *range(step, total + 1, step)}):
        if place == 1 or place - 1 >= step * 0.7:
            yield svg.text(
                _middle(place - 1, band), _LABELS, str(place), class_="p-text", anchor="middle"
            )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    yield svg.text(middle, _TITLE, "layers in order of execution", class_="p-text", anchor="middle")


def _summary(layers: Sequence[LayerFact]) -> str:
    measured = [layer for layer in layers if layer.sqnr is not None]
    worst = min(measured, key=lambda layer: layer.sqnr or 0.0)
    words = [
        f"SQNR of {count(len(measured), 'layer')} in order of execution",
        f"lowest {quantity(worst.sqnr, 'dB')} at {_short(worst.name)}",
    ]
    failed = sum(layer.failed for layer in layers)
    if failed:
        words.append(f"{count(failed, 'layer')} failed a check")
    return ", ".join(words)


def _short(name: str) -> str:
    return name if len(name) <= 48 else f"{name[:16]}...{name[-29:]}"
