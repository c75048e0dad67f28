"""Tiers, statuses and the rule by which the worst one wins."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Tier(StrEnum):
    """The three questions that a case answers, in the order they are asked."""

    NUMERICAL = "numerical"
    LAYERS = "layers"
    DEVICE = "device"


class Status(StrEnum):
    """Outcome of one check or of a whole case."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"
    NOT_COMPARABLE = "NOT_COMPARABLE"
    """What was accepted was measured in surroundings that give other numbers; the rest passed."""


# A skipped check never hides a passing one, and nothing hides an error: the largest rank wins.
# That a comparison did not take place must not be lost among passes, and is no failure.
_RANK = {
    Status.SKIPPED: 0,
    Status.PASS: 1,
    Status.NOT_COMPARABLE: 2,
    Status.INCONCLUSIVE: 3,
    Status.FAIL: 4,
    Status.ERROR: 5,
}


def worst(statuses: Iterable[Status]) -> Status:
    """Return the status that decides; no status at all is an ERROR (fail closed)."""
    return max(statuses, key=_RANK.__getitem__, default=Status.ERROR)


class ExitCode:
    """Process exit codes of every command."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INFRASTRUCTURE = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130
