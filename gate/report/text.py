"""Text of unknown origin (worker output, layer names) made safe to show."""

from __future__ import annotations

import re

# Escape sequences of a terminal: CSI ... letter, OSC ... BEL or ST, and two-character ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Control characters other than tab and newline, lone surrogates and the two non-characters: a
# terminal may obey them, XML 1.0 cannot hold them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# What Markdown takes for more than itself.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")


def clean(text: str) -> str:
    """Drop terminal escapes and replace every other control character by ``?``."""
    if text.isprintable():
        return text
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("?", _ESCAPES.sub("", unified))


def one_line(text: str) -> str:
    """Clean text with every run of white space made one space."""
    return " ".join(clean(text).split())


def markdown_cell(text: str) -> str:
    """Text of a Markdown table cell or list item that stands for itself."""
    return _SPECIAL.sub(r"\\\1", one_line(text)).replace("&", "&amp;").replace("@", "&#64;")


def tail(text: str, lines: int) -> str:
    """Last ``lines`` lines that are not blank at the end, cleaned; says how many were left out."""
    kept = clean(text).rstrip().split("\n")
    if len(kept) <= lines:
        return "\n".join(kept)
    return "\n".join([f"... ({len(kept) - lines} lines before)", *kept[-lines:]])
