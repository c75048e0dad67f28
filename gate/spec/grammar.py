"""Text of a tolerance -> ``Tolerance``.

``OP NUMBER [UNIT]``, ``OP baseline [+|- NUMBER UNIT]``, ``OP NUMBER x reference``, with OP one of
``<  <=  >  >=  ==``; ``true`` or ``equal`` for metrics that are met or not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from gate.core.task import CUSTOM
from gate.core.tolerance import Anchor, Op
from gate.metrics.catalogue import Direction, MetricInfo
from gate.spec.diagnostics import shown
from gate.spec.units import FACTORS, OFFSET_UNITS, UnitError, factor

NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_OP = re.compile(r"\s*(<=|>=|==|<|>)\s*(.*?)\s*", re.DOTALL | re.ASCII)
_ABSOLUTE = re.compile(rf"({NUMBER})\s*(%|[A-Za-zµ]*)", re.ASCII)
_BASELINE = re.compile(rf"baseline(?:\s*([-+])\s*({NUMBER})\s*(%|[A-Za-zµ]*))?", re.ASCII)
_REFERENCE = re.compile(rf"({NUMBER})\s*x\s+reference", re.ASCII)
_QUANTITY = re.compile(rf"\s*({NUMBER})\s*(%|[A-Za-zµ]*)\s*", re.ASCII)
_BOOL_WORDS = ("true", "equal")
_NO_RELATIVE = frozenset({"pp", "dB", "bool"})
_FORMS = "'OP NUMBER UNIT', 'OP baseline +/- NUMBER UNIT' or 'OP NUMBER x reference'"


class GrammarError(ValueError):
    """A tolerance that makes no sense; the message is for the user."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A parsed tolerance, its number in the metric's unit."""

    op: Op
    anchor: Anchor
    value: float
    relative: bool = False


def parse_bound(text: str, info: MetricInfo) -> Bound:
    """Parse ``text`` as a tolerance on the metric ``info``.

    Raises:
        GrammarError: bad syntax, a wrong unit, a direction or a number that makes no sense.
    """
    if info.unit == "bool":
        if text not in _BOOL_WORDS:
            raise GrammarError(
                f"{info.name} is met or not: expected true or equal, found '{shown(text)}'"
            )
        return Bound(op=Op.EQ, anchor=Anchor.ABSOLUTE, value=1.0)
    if text in _BOOL_WORDS:
        raise GrammarError(f"'{text}' is for metrics that are met or not", f"expected {_FORMS}")
    match = _OP.fullmatch(text)
    if match is None:
        raise GrammarError(
            f"expected a tolerance that starts with <, <=, >, >= or ==, found '{shown(text)}'",
            f"for example {example(info)}",
        )
    op, rest = Op(match.group(1)), match.group(2)
    for pattern, read in _READERS:
        if (found := pattern.fullmatch(rest)) is not None:
            bound = read(op, found, info)
            _check_direction(bound, info)
            return bound
    raise GrammarError(f"cannot read '{shown(rest)}'", f"expected {_FORMS}")


def parse_quantity(text: str, table: dict[str, float], what: str) -> float:
    """Parse ``NUMBER UNIT`` with the factors of ``table``.

    Raises:
        GrammarError: bad syntax, a wrong unit, or a number that is not above zero.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise GrammarError(f"expected a number and a unit for {what}, found '{shown(text)}'")
    value = _number(match.group(1)) * _factor(match.group(2), table, what)
    if value <= 0 or not math.isfinite(value):
        raise GrammarError(f"expected more than zero for {what}, found '{shown(text)}'")
    return value


def example(info: MetricInfo) -> str:
    """A well-formed tolerance on ``info``, in quotes."""
    if info.unit == "bool":
        return "true"
    op = "<=" if info.direction is Direction.LOWER else ">="
    return f"'{op} {_EXAMPLES.get(info.name) or _EXAMPLES[info.unit]}'"


_EXAMPLES = {
    "%": "1 %",
    "pp": "1 pp",
    "dB": "20 dB",
    "ms": "5 ms",
    "B": "6 MB",
    "x": "1.5 x",
    "fps": "100 fps",
    "nat": "0.01 nat",
    "": "0.1",
    "cosine": "0.99",
    "float_layers": "2",
    "new_flips": "3",
    **dict.fromkeys(("top1", "top5"), "70 %"),
    **dict.fromkeys(("top1_agreement", "quantized_ops", "int8_params", "int8_macs"), "95 %"),
}
"""By unit, or by metric where the unit's example would be odd."""


def _absolute(op: Op, found: re.Match[str], info: MetricInfo) -> Bound:
    value = _number(found.group(1)) * _factor(found.group(2), FACTORS[info.unit], info.name)
    _check_range(op, value, info, found.group())
    return Bound(op=op, anchor=Anchor.ABSOLUTE, value=value)


def _baseline(op: Op, found: re.Match[str], info: MetricInfo) -> Bound:
    if info.name == "new_flips":
        raise GrammarError("new_flips is counted from the baseline already", "write '<= 3'")
    sign, number, unit = found.groups()
    if sign is None:
        value, relative = 0.0, False
    else:
        relative = unit == "%"
        if relative and info.unit in _NO_RELATIVE:
            raise GrammarError(
                f"an offset of {info.name} in % of the baseline has no meaning",
                f"write it in {info.unit}",
            )
        scale = 1.0 if relative else _offset_factor(unit, info)
        value = _number(number) * scale * (-1.0 if sign == "-" else 1.0)
    if not _holds(op, value):
        raise GrammarError(
            f"the baseline itself does not meet '{op} {found.group()}'",
            "an offset loosens: '<= baseline + ...' or '>= baseline - ...'",
        )
    return Bound(op=op, anchor=Anchor.BASELINE, value=value, relative=relative)


def _reference(op: Op, found: re.Match[str], info: MetricInfo) -> Bound:
    if not info.has_reference:
        raise GrammarError(f"{info.name} has no value for the reference to be compared with")
    value = _number(found.group(1))
    if value <= 0:
        raise GrammarError(f"expected a factor above zero, found '{found.group(1)}'")
    return Bound(op=op, anchor=Anchor.REFERENCE, value=value)


_READERS: tuple[tuple[re.Pattern[str], Callable[[Op, re.Match[str], MetricInfo], Bound]], ...] = (
    (_REFERENCE, _reference),
    (_BASELINE, _baseline),
    (_ABSOLUTE, _absolute),
)


def _number(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise GrammarError(f"the number {shown(word, 24)} is too large for a double")
    return value


def _factor(unit: str, table: dict[str, float], what: str) -> float:
    try:
        return factor(unit, table, what)
    except UnitError as error:
        raise GrammarError(str(error)) from None


def _offset_factor(unit: str, info: MetricInfo) -> float:
    hint = "" if info.unit in _NO_RELATIVE else "'%' is per cent of the baseline's value"
    try:
        return factor(unit, OFFSET_UNITS[info.unit], f"an offset of {info.name}")
    except UnitError as error:
        raise GrammarError(str(error), hint) from None


def _holds(op: Op, offset: float) -> bool:
    """True where a value that equals the baseline meets ``op baseline + offset``."""
    return {
        Op.LT: offset > 0,
        Op.LE: offset >= 0,
        Op.GT: offset < 0,
        Op.GE: offset <= 0,
        Op.EQ: offset == 0,
    }[op]


def _check_direction(bound: Bound, info: MetricInfo) -> None:
    wrong = (Op.GT, Op.GE) if info.direction is Direction.LOWER else (Op.LT, Op.LE)
    if bound.op in wrong:
        right = "<=" if info.direction is Direction.LOWER else ">="
        raise GrammarError(
            f"{info.direction} is better for {info.name}, so '{bound.op}' would reject the better "
            "candidate",
            f"use '{right}', or '==' for an exact value",
        )


def _check_range(op: Op, value: float, info: MetricInfo, written: str) -> None:
    """Refuse a bound that can never be met or never be missed."""
    low, high = _range(info)
    if not low <= value <= high:
        raise GrammarError(
            f"{info.name} lies between {low:g} and {high:g}, '{op} {written}' is outside"
            if math.isfinite(high)
            else f"{info.name} is never below {low:g}, '{op} {written}' makes no sense"
        )
    if (op is Op.LT and value == low) or (op is Op.GT and value == high):
        raise GrammarError(f"nothing can meet '{op} {written}' for {info.name}")
    if (op is Op.GE and value == low) or (op is Op.LE and value == high):
        raise GrammarError(f"'{op} {written}' is always met for {info.name}")


def _range(info: MetricInfo) -> tuple[float, float]:
    """Smallest and largest value that the metric can take."""
    if info.unit == "dB" or info.name.startswith(CUSTOM):
        return -math.inf, math.inf
    if info.unit == "pp":
        return -100.0, 100.0
    if info.name == "cosine":
        return -1.0, 1.0
    if info.unit == "%" and info.has_interval:
        return -100.0, math.inf
    # Errors relative to the reference's power can exceed 100 %; shares of a whole cannot.
    if info.unit == "%" and info.direction is Direction.HIGHER:
        return 0.0, 100.0
    return 0.0, math.inf
