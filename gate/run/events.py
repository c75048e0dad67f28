"""What the engine tells while cases run; for progress displays and tests, never for judging."""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.result import CaseResult


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStarted:
    """A worker was started."""

    case_id: str
    index: int
    """Position in the plan, from zero."""
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntered:
    """A worker began a stage."""

    case_id: str
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """How far a stage is."""

    case_id: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUsed:
    """Something expensive was taken from the cache, or made because it was not there."""

    case_id: str
    kind: str
    """``conversion``, ``conversion-error``, ``artifact`` or ``reference-outputs``."""
    hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A worker waits for another one (its clock stands still); ``reason`` is empty when it goes on."""

    case_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something worth knowing before the case has its result."""

    case_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFinished:
    """A case has its result, which is already on disk."""

    result: CaseResult
    seconds: float


Event = CaseStarted | StageEntered | StageProgress | CacheUsed | Waiting | Said | CaseFinished
