"""A declared bound on a metric, parsed and with its unit checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.status import Tier


class Op(StrEnum):
    """Comparison of a measurement (left) with a bound (right)."""

    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="


class Anchor(StrEnum):
    """What the bound is counted from."""

    ABSOLUTE = "absolute"
    BASELINE = "baseline"
    REFERENCE = "reference"


class Mode(StrEnum):
    """What a bound on an accuracy drop is about."""

    EXACT = "exact"
    """The evaluation set as it is: the measured drop is compared with the bound."""
    CERTIFY = "certify"
    """The accuracy on such data in general: the drop's interval is compared with the bound."""
    AUTO = "auto"
    """``certify`` where the evaluation set is large enough for it, else ``exact``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """A place in a spec file; line and column count from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """``OP NUMBER [UNIT]``, ``OP baseline [+|- NUMBER UNIT]`` or ``OP NUMBER x reference``."""

    tier: Tier
    metric: str
    op: Op
    anchor: Anchor
    value: float
    """ABSOLUTE: the bound in the metric's own unit (1.0 for ``true``/``equal``).
    BASELINE: the signed offset, in the metric's unit, or in per cent where ``relative``.
    REFERENCE: the factor on the reference's value."""
    relative: bool = False
    """BASELINE only: the offset is per cent of the baseline's value."""
    subjects: str | None = None
    """Glob over output or layer names; None for every subject."""
    text: str
    """As written."""
    mode: Mode = Mode.AUTO
    """Of bounds on an accuracy drop; others have nothing to choose."""
    where: SourcePosition | None = None
