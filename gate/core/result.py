"""What one planned case came to, before judging: exactly one of three things."""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.case import Case
from gate.core.observation import Observation, RunFailure

RESULT_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A fault that a drill planted into this run, and where."""

    fault: str
    layer: str | None
    """None where no one layer is at fault."""
    detail: str
    also: tuple[str, ...] = ()
    """Other layers that a verdict may rightly name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """Content of ``<run>/results/<case>.json``: all that ``gate judge`` needs but the baseline."""

    schema: int = RESULT_SCHEMA
    case: Case
    observation: Observation | None = None
    failure: RunFailure | None = None
    skipped: str | None = None
    """Why the case could not run here, and how to make it."""
    planted: Planted | None = None
    """Set in drills only: this is no result of the candidate that the spec describes."""
