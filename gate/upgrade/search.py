"""Bisection over an ordered history, with steps that cannot be tested skipped. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What one step of the history came to."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"
    """It cannot be built, or gives now this, now that."""


class HistoryError(ValueError):
    """Outcomes that no single change explains; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a check turned."""

    last_good: str
    first_bad: str
    between: tuple[str, ...] = ()
    """Skipped steps in between: the change may be in any of them, or in ``first_bad``."""


@dataclass(slots=True)
class Search:
    """Finds the first bad step; the first step of ``history`` is good and the last one bad."""

    history: Sequence[str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def next(self) -> str | None:
        """The step to test next; None when nothing more can be learnt.

        First the ends, which are only said to be good and bad; then the middle of what is left, or
        the untested step that is nearest to it.
        """
        for end in (self.history[0], self.history[-1]):
            if end not in self.outcomes:
                return end
        low, high = self._bounds()
        middle = (low + high) / 2
        untested = [i for i in range(low + 1, high) if self.history[i] not in self.outcomes]
        if not untested:
            return None
        return self.history[min(untested, key=lambda i: (abs(i - middle), i))]

    def tell(self, step: str, outcome: Outcome) -> None:
        """Take the outcome of a step.

        Raises:
            HistoryError: an end of the history is not what it was said to be.
        """
        self.outcomes[step] = outcome
        expected = {self.history[0]: Outcome.GOOD, self.history[-1]: Outcome.BAD}.get(step)
        if expected is not None and outcome is not expected:
            raise HistoryError(
                f"{step} was given as {expected} and is {outcome}: there is nothing to search"
                " between; name other ends"
            )

    def turn(self) -> Turn:
        """Where it turned, as far as it is known."""
        low, high = self._bounds()
        return Turn(
            last_good=self.history[low],
            first_bad=self.history[high],
            between=tuple(self.history[low + 1 : high]),
        )

    def steps_left(self) -> int:
        """About how many tests are still to come."""
        low, high = self._bounds()
        return math.ceil(math.log2(high - low)) if high - low > 1 else 0

    def _bounds(self) -> tuple[int, int]:
        known: Mapping[str, Outcome] = self.outcomes
        bad = (i for i, s in enumerate(self.history) if known.get(s) is Outcome.BAD)
        high = min(bad, default=len(self.history) - 1)
        good = (i for i in range(high) if known.get(self.history[i]) is Outcome.GOOD)
        return max(good, default=0), high
