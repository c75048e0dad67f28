"""Intervals of what a task loses: resampled, refused, or brought to the unit of the metric."""

from __future__ import annotations

import math
from collections.abc import Callable

from gate.metrics.intervals import DropInterval, Floats, bootstrap_drops
from gate.metrics.sample_size import MIN_IMAGES

SEED = 20240517
"""Of every resample, so that a verdict is the same on any machine and at any time."""


def resampled(
    drops: Callable[[Floats], Floats],
    units: int,
    *,
    replicates: int = 1000,
    least: int = MIN_IMAGES,
    noun: str = "images",
) -> tuple[DropInterval, ...]:
    """Bootstrap intervals; none where a resample has no value."""
    if units < 2:
        return ()
    try:
        return bootstrap_drops(
            drops, units, seed=SEED, replicates=replicates, least=least, noun=noun
        )
    except ValueError:
        return ()


def refused_interval(drop: float, refused: str, units: int) -> DropInterval:
    """No interval at all, with the reason."""
    return DropInterval(
        drop=drop,
        standard_error=math.inf,
        freedom=1.0,
        low=-math.inf,
        high=math.inf,
        refused=refused,
        units=units,
    )


def scaled(found: DropInterval, factor: float) -> DropInterval:
    """The same in another unit."""
    return DropInterval(
        drop=factor * found.drop,
        standard_error=factor * found.standard_error,
        freedom=found.freedom,
        low=factor * found.low,
        high=factor * found.high,
        refused=found.refused,
        units=found.units,
    )
