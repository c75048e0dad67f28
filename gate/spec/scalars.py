"""Plain words to values by the core schema of YAML 1.2 (section 10.3.2), and limits on both."""

from __future__ import annotations

import math
import re

from gate.spec.diagnostics import shown

Value = None | bool | int | float | str

_INTEGERS = (
    (re.compile(r"[-+]?[0-9]+"), 10),
    (re.compile(r"0o[0-7]+"), 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 16),
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_STARTS_A_NUMBER = frozenset("0123456789+-.")
_LARGEST_INT = 2**63
_MOST_DIGITS = 400

# Tab, line feed and carriage return are text; every other control character, and the line separators
# on whose meaning YAML 1.1, 1.2 and editors disagree, are not.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]"
)


class ScalarError(ValueError):
    """A word that has no value here; the message is for the user."""


def resolve(word: str) -> Value:
    """Value of a plain (unquoted) word.

    Raises:
        ScalarError: not finite, or too large a number.
    """
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in _STARTS_A_NUMBER:
        return word
    if _NOT_FINITE.fullmatch(word):
        raise ScalarError(f"'{word}' is not a finite number")
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(word):
            return integer(word if base == 10 else word[2:], base)
    return real(word) if _FLOAT.fullmatch(word) else word


def integer(digits: str, base: int) -> int:
    """Integer of at most 64 bits.

    Raises:
        ScalarError: more bits than that.
    """
    if (
        len(digits) > _MOST_DIGITS
        or not -_LARGEST_INT <= (value := int(digits, base)) < _LARGEST_INT
    ):
        raise ScalarError(f"the number {shown(digits, 24)} does not fit into 64 bits")
    return value


def real(word: str) -> float:
    """Finite double.

    Raises:
        ScalarError: beyond the range of a double.
    """
    value = float(word)
    if not math.isfinite(value):
        raise ScalarError(f"the number {shown(word, 24)} is too large for a double")
    return value


def text(value: str) -> str:
    """``value`` itself.

    Raises:
        ScalarError: it holds a control character (written as an escape).
    """
    if (found := UNPRINTABLE.search(value)) is not None:
        raise ScalarError(f"the text holds U+{ord(found.group()):04X}, which cannot be printed")
    return value
