"""Tango's score statistic for the difference between two paired proportions (1998)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def tango_statistic(
    lost: npt.ArrayLike, gained: npt.ArrayLike, samples: int, margin: float
) -> Floats:
    """Standardised distance of the measured drop from ``margin``; arrays broadcast.

    ``(b - c - n m) / sqrt(n (2 q + m (1 - m)))`` with q the maximum likelihood estimate of the share
    gained where the drop is m: ``q = (sqrt(B^2 - 4 A C) - B) / 2A``, ``A = 2n``,
    ``B = -b - c + (2n - b + c) m``, ``C = -c m (1 - m)``. Far below zero: the drop is less than the
    margin. 0 where nothing flipped and the margin is 0.
    """
    b, c = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    if margin < 0.0:  # the same question asked of the reverse
        return -tango_statistic(c, b, samples, -margin)
    quadratic = 2.0 * samples
    linear = -b - c + (2.0 * samples - b + c) * margin
    constant = -c * margin * (1.0 - margin)
    q = (np.sqrt(linear * linear - 4.0 * quadratic * constant) - linear) / (2.0 * quadratic)
    variance = samples * (2.0 * q + margin * (1.0 - margin))
    distance = b - c - samples * margin
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic: Floats = np.where(
            variance > 0.0, distance / np.sqrt(variance), np.copysign(np.inf, distance)
        )
    return np.where(distance == 0.0, 0.0, statistic)


def tango_at(lost: int, gained: int, samples: int, margin: float) -> float:
    """:func:`tango_statistic` of one table, without the cost of arrays: it is solved by bisection."""
    if margin < 0.0:
        return -tango_at(gained, lost, samples, -margin)
    distance = lost - gained - samples * margin
    if distance == 0.0:
        return 0.0
    quadratic = 2.0 * samples
    linear = -lost - gained + (2.0 * samples - lost + gained) * margin
    constant = -gained * margin * (1.0 - margin)
    q = (math.sqrt(linear * linear - 4.0 * quadratic * constant) - linear) / (2.0 * quadratic)
    variance = samples * (2.0 * q + margin * (1.0 - margin))
    return distance / math.sqrt(variance) if variance > 0.0 else math.copysign(math.inf, distance)
