"""A user's mistake, printed; in GitHub Actions also marked at its line."""

from __future__ import annotations

import sys

from gate.report import github
from gate.spec.diagnostics import SpecError


def complain(error: Exception) -> None:
    """Say what is wrong on the standard error stream."""
    sys.stderr.write(f"{error}\n")
    if isinstance(error, SpecError) and github.wanted():
        sys.stderr.write(github.render_diagnostics(error.diagnostics))
