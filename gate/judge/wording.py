"""How values, bounds and lists of names are written in the judge's messages, exact enough to search for."""

from __future__ import annotations

from collections.abc import Sequence

from gate.core.tolerance import Op

_SIGNIFICANT = 5
_NAMES_SHOWN = 5


def shown(value: float, unit: str, *, digits: int = _SIGNIFICANT) -> str:
    """Write a value with its unit, for people.

    >>> shown(0.123456789, "%"), shown(1.0, "bool"), shown(1234567.0, "B"), shown(3.0, "")
    ('0.12346 %', 'true', '1234567 B', '3')
    """
    if unit == "bool":
        return "true" if value == 1.0 else "false"
    text = f"{value:.0f}" if unit == "B" and value.is_integer() else f"{value:.{digits}g}"
    return f"{text} {unit}".rstrip()


def compared(value: float, op: Op, bound: float, unit: str) -> str:
    """Write ``value, demanded OP bound`` with as many digits as it takes to tell the two apart.

    >>> compared(14.2, Op.GE, 15.0, "dB"), compared(1.0000001, Op.LE, 1.0, "pp")
    ('14.2 dB, demanded >= 15 dB', '1.0000001 pp, demanded <= 1 pp')
    """
    for digits in (_SIGNIFICANT, 9, 17):
        left, right = shown(value, unit, digits=digits), shown(bound, unit, digits=digits)
        if left != right or value == bound:
            break
    return f"{left}, demanded {op.value} {right}"


def names(items: Sequence[str], *, limit: int = _NAMES_SHOWN) -> str:
    """List the first names and count the others.

    >>> names(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    head = ", ".join(items[:limit])
    return head if len(items) <= limit else f"{head} and {len(items) - limit} more"


def count(number: int, noun: str) -> str:
    """Write a number with its noun.

    >>> count(1, "layer"), count(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
