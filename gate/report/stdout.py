"""Standard output that may be closed, full, or read by someone who went away."""

from __future__ import annotations

import contextlib
import os
import sys


def ensure() -> None:
    """Give a process that was started without standard streams (``>&-``) some that lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - stays open


def write(text: str) -> bool:
    """Write and flush; False, with a message, where it cannot be written.

    A reader that went away (``head``, ``less``) has what it wanted: that is no failure.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # A log that is not UTF-8 shows a replacement character rather than failing the gate.
        sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
    except OSError as error:
        discard()
        sys.stderr.write(f"gate: cannot write the report: {error.strerror or error}\n")
        return False
    return True


def discard() -> None:
    """Send what is still buffered, and all that follows, nowhere: Python would complain at its end."""
    with contextlib.suppress(OSError):  # a stream without a file, as of a test, has no such end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
