"""What a method that chooses among others tried, and what it took: the way from ``ladder`` to a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.spec import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One candidate on the way."""

    name: str
    """Of the rung, or how many layers stay in float."""
    holds: bool
    """Whether it holds what was demanded of it."""
    why: str = ""
    """What it does not hold, or why it could not be made; empty where it holds."""
    size_bytes: int | None = None
    """None where it could not be made."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value in the catalogue's unit: ``sqnr`` of the worst output, ``top1_drop``, ``speedup``."""
    kept: tuple[str, ...] = ()
    """Layers in float, of a search."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The end of a ladder or a search: the explicit recipe and everything that led to it."""

    how: str
    """``ladder`` or ``search``."""
    method: str
    options: Options
    """Of the recipe, as they stand in a spec."""
    chosen: int
    """Index into ``tried``."""
    tried: tuple[Tried, ...]
    """In the order in which they were tried; of a search the first is the uniform one."""
    on: str
    """Samples that decided: ``evaluation`` or ``calibration``."""
    samples: int
    met: bool
    """Whether the chosen one holds what was demanded."""
    remark: str = ""
    limit_bytes: int | None = None
    """Bytes that a search may use; None for a ladder, and without a budget."""
    out_of_time: bool = False
    """Whether a search stopped for its budget of time, or of mixtures, before it was done."""
    seconds: float = 0.0

    @property
    def taken(self) -> Tried:
        """The chosen candidate."""
        return self.tried[self.chosen]
