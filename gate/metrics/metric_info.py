"""What is known of every metric that a spec can name. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.status import Tier
from gate.core.task import Task


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """What a metric is; the functions that compute it are beside this file."""

    tier: Tier
    name: str
    unit: str
    """The unit its measurements are in: ``%``, ``pp``, ``dB``, ``ms``, ``B``, ``x``, ``fps``,
    ``nat``, ``bool`` or the empty string for a pure number."""
    direction: Direction
    subject: str
    """``output``, ``layer``, ``class`` (with at least 10 samples; its label is the name) or ``case``."""
    formula: str
    source: str = ""
    has_reference: bool = False
    """True where the reference has a value of its own, so that ``NUMBER x reference`` makes sense."""
    has_interval: bool = False
    """True where samples are counted in pairs, so that a bound can be certified (``mode``)."""
    tasks: frozenset[Task] = frozenset()
    """Tasks that have it; empty where every task has."""
