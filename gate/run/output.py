"""What a worker printed: kept in a file of bounded size, quoted in bounded pieces."""

from __future__ import annotations

import os
import re
from pathlib import Path

LOG_BYTES = 64 * 1024 * 1024
TAIL_BYTES = 8 * 1024
TAIL_LINES = 20
LINE_CHARACTERS = 300

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")
_MARKERS = re.compile(r"[ \t]*[~^]+")  # below the source lines of a traceback: they say little
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def last_lines(log: Path) -> str:
    """The last lines of a log, without terminal controls: at most 20, of 300 characters each."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError as error:
        return f"(the log cannot be read: {error})"
    return last_of(data.decode(errors="replace"))


def last_of(text: str) -> str:
    """The last lines of a text, cleaned and bounded as in ``last_lines``."""
    clean = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r", "\n")))
    lines = [line.rstrip()[:LINE_CHARACTERS] for line in clean.split("\n")]
    kept = [line for line in lines if line and not _MARKERS.fullmatch(line)]
    return "\n".join(kept[-TAIL_LINES:])


def bound_size(log: Path) -> None:
    """Empty a log that has grown beyond 64 MiB, so that a chatty worker cannot fill the disk.

    The worker's descriptor appends, so it goes on at the new end.
    """
    if log.stat().st_size > LOG_BYTES:
        os.truncate(log, 0)
