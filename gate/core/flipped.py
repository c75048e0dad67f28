"""Which samples two models disagree on, by their place in the evaluation set, and what a baseline knew."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flipped:
    """Samples on which exactly one of reference and candidate is right, ascending, from zero."""

    lost: tuple[int, ...]
    """Reference right, candidate wrong."""
    gained: tuple[int, ...]
    """Reference wrong, candidate right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipsCompared:
    """The flips of this run beside the accepted ones."""

    metric: str
    """``top1`` or ``top5``."""
    now: Flipped
    accepted: Flipped | None
    """None where there is no baseline of the same data, or it holds none."""

    @property
    def new(self) -> tuple[int, ...]:
        """Samples that are lost now and were not in the baseline; empty where that is unknown."""
        return _without(self.now.lost, self.accepted.lost) if self.accepted is not None else ()

    @property
    def gone(self) -> tuple[int, ...]:
        """Samples that the baseline had lost and that are not lost now; empty where that is unknown."""
        return _without(self.accepted.lost, self.now.lost) if self.accepted is not None else ()


def _without(these: tuple[int, ...], those: tuple[int, ...]) -> tuple[int, ...]:
    left_out = frozenset(those)
    return tuple(index for index in these if index not in left_out)
