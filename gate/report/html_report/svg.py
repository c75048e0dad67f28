"""SVG as text: elements whose attributes and contents are escaped, numbers as short as pixels need."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

Attribute = str | float


def tag(name: str, *children: str, **attributes: Attribute) -> Markup:
    """One element. ``class_`` and ``text_anchor`` become ``class`` and ``text-anchor``; children are
    escaped unless they are markup."""
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    inside = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")  # noqa: S704 - all parts are escaped


def drawing(
    width: float, height: float, parts: Iterable[str], *, label: str, class_: str
) -> Markup:
    """A whole picture that scales with its column; ``label`` is what a screen reader says of it."""
    return tag(
        "svg",
        *parts,
        class_=class_,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def text(x: float, y: float, content: str, *, class_: str = "", anchor: str = "start") -> Markup:
    """A line of text, its baseline at ``y``."""
    more: dict[str, Attribute] = {"class_": class_} if class_ else {}
    if anchor != "start":
        more["text_anchor"] = anchor
    return tag("text", content, x=x, y=y, **more)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Iterable[tuple[float, float] | None], class_: str) -> Markup:
    """A line through points, broken where there is None."""
    pieces: list[str] = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{number(point[0])} {number(point[1])}")
        pen = "L"
    return tag("path", d="".join(pieces), class_=class_)


def number(value: float) -> str:
    """A coordinate to a tenth of a pixel; what is not finite has no place and is drawn at the edge."""
    return f"{round(value, 1):g}" if math.isfinite(value) else "0"


def _value(value: Attribute) -> str:
    return str(escape(value)) if isinstance(value, str) else number(value)
