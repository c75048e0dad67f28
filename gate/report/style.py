"""Colour and width of the terminal that a report is written to."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TextIO

_DEFAULT_WIDTH = 120  # of a log file or a pipe, which wrap by themselves
_NARROWEST = 40

_CODES = {
    "PASS": "32",
    "XFAIL": "36",
    "FAIL": "31;1",
    "ERROR": "31;1",
    "INCONCLUSIVE": "33",
    "SKIPPED": "33",
    "NOT_COMPARABLE": "33",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to write to one stream."""

    width: int = _DEFAULT_WIDTH
    colour: bool = False

    def paint(self, text: str, status: str) -> str:
        """Wrap ``text`` in the colour of a status word, where colours are on."""
        code = _CODES.get(status)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text


def style_of(stream: TextIO) -> Style:
    """Colour on a terminal only, and never where ``NO_COLOR`` is set (to anything but nothing)."""
    terminal = stream.isatty()
    if terminal or os.environ.get("COLUMNS"):
        width = max(_NARROWEST, shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns)
    else:
        width = _DEFAULT_WIDTH
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(width=width, colour=colour)
