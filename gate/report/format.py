"""Numbers with their units, rounded for the eye. Reports round here and nowhere else."""

from __future__ import annotations

import math

from gate.core.tolerance import Anchor, Tolerance

_DIGITS = 3
_MAX_DIGITS = 17  # what a double needs to be told from its neighbours

# unit -> (least magnitude, shown unit, factor), largest first
_SCALES = {
    "B": ((1e9, "GB", 1e-9), (1e6, "MB", 1e-6), (1e3, "kB", 1e-3), (0.0, "B", 1.0)),
    "ms": ((1e3, "s", 1e-3), (1.0, "ms", 1.0), (0.0, "us", 1e3)),
}


def _significant(value: float, digits: int) -> str:
    """Round to significant digits, in plain notation where that stays short."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    # 1.23e+03 reads worse than 1230; 1.2e-09 reads better than 0.0000000012.
    return (
        f"{value:.0f}" if 1 <= abs(value) < 1e9 else text.replace("e-0", "e-").replace("e+0", "e")
    )


def quantity(value: float | None, unit: str, *, digits: int = _DIGITS) -> str:
    """Write ``value`` (in a unit of the metric catalogue) with its unit; ``-`` where there is none.

    Bytes become SI sizes (``1 MB`` is 10^6 bytes), milliseconds become ``us``, ``ms`` or ``s``, and
    the unit ``bool`` becomes ``true`` or ``false``.
    """
    if value is None:
        return "-"
    if unit == "bool":
        return "true" if value else "false"
    if math.isfinite(value):
        for least, name, factor in _SCALES.get(unit, ()):
            if abs(value) >= least:
                return f"{_significant(value * factor, digits)} {name}"
    return f"{_significant(value, digits)} {unit}".rstrip()


def apart(value: float | None, bound: float | None, unit: str) -> tuple[str, str]:
    """Write a measurement and its bound with as many digits as it takes to tell them apart.

    ``1.0004 pp`` against ``< 1 pp`` must not read as ``1 pp`` against ``1 pp``.
    """
    digits = _DIGITS
    while digits < _MAX_DIGITS and value is not None and bound is not None and value != bound:
        if quantity(value, unit, digits=digits) != quantity(bound, unit, digits=digits):
            break
        digits += 1
    return quantity(value, unit, digits=digits), quantity(bound, unit, digits=digits)


def span(low: float, high: float, unit: str) -> str:
    """Write an interval beside its value, whose unit it shares.

    >>> span(-0.123456, 1.5, "pp")
    '[-0.123 .. 1.5]'
    """
    ends = [quantity(end, unit) for end in (low, high)]
    units = {end.partition(" ")[2] for end in ends}
    if len(units) == 1:  # of one scale
        ends = [end.partition(" ")[0] for end in ends]
    return f"[{' .. '.join(ends)}]"


def demand(tolerance: Tolerance | None, bound: str) -> str:
    """What was asked for, with the number that came out of a baseline or reference anchor."""
    if tolerance is None:
        return ""
    if tolerance.anchor is Anchor.ABSOLUTE:
        return tolerance.text
    filled = f"{tolerance.op} {bound}" if bound != "-" else "no value"
    return f"{tolerance.text} ({filled})"


def seconds(value: float) -> str:
    """Wall time of a run: ``0.8 s``, ``41 s``, ``3 min 05 s``."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def size(value: int) -> str:
    """Bytes as an SI size."""
    return quantity(float(value), "B")
