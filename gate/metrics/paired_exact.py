"""Exact probability of what a paired comparison saw, where flips are so few that approximations err.

Unconditional: over both kinds of flips, at the least favourable share of them. The share is a nuisance;
it is searched within a confidence set of its own, whose error is added (Berger and Boos, P values
maximized over a confidence set for the nuisance parameter, 1994).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gate.metrics.sample_size import NUISANCE_ERROR
from gate.metrics.tango import tango_statistic

Floats = npt.NDArray[np.float64]

EXACT_FLIPS = 200
"""With more flips the approximations are within 0.001 of their level (measured by the benchmark)."""
_GRID = 33
_SPREAD = 6.5  # standard deviations of the number of flips that are enumerated: 1e-10 is left out
_LEFT_OUT = 1e-9


def tail_probability(lost: int, gained: int, samples: int, margin: float) -> float:
    """Largest probability of a score statistic as low as the observed one where the drop is ``margin``.

    Small: the drop is below the margin. For the other side ask with ``lost`` and ``gained`` exchanged
    and the margin negative. At most 1; an upper bound, since what is left out is added.
    """
    shares = _nuisance(lost + gained, samples, abs(margin))
    if not shares.size:  # the observed share of flips does not go with such a drop
        return NUISANCE_ERROR
    b, c, weights = _region(lost, gained, samples, margin, shares)
    loses = (shares + margin) / 2.0
    gains = (shares - margin) / 2.0
    rest = 1.0 - shares
    with np.errstate(divide="ignore"):  # a share of zero: only counts of zero are possible
        logs = [np.maximum(np.log(share), -1e4) for share in (loses, gains, rest)]
    exponent = weights[:, None] + np.outer(b, logs[0]) + np.outer(c, logs[1])
    exponent += np.outer(samples - b - c, logs[2])
    largest = float(np.exp(exponent).sum(axis=0).max())
    return min(1.0, largest + NUISANCE_ERROR + _LEFT_OUT)


def _nuisance(flips: int, samples: int, least: float) -> Floats:
    """A grid over the shares of flips that are no smaller than the drop and fit the observed number;
    empty where there is none."""
    limit = math.log(2.0 / NUISANCE_ERROR)
    share = flips / samples
    low = max(_chernoff(share, samples, limit, 0.0), least)
    high = _chernoff(share, samples, limit, 1.0)
    return np.linspace(low, high, _GRID) if low <= high else np.empty(0)


def _chernoff(share: float, samples: int, limit: float, end: float) -> float:
    """Farthest share towards ``end`` with ``n KL(share || p) <= limit``, outwards."""
    inside, outside = share, end
    for _ in range(50):
        middle = (inside + outside) / 2.0
        if samples * _divergence(share, middle) <= limit:
            inside = middle
        else:
            outside = middle
    return outside


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence between two coins, in nat."""
    if not 0.0 < q < 1.0:
        return 0.0 if p == q else math.inf
    first = p * math.log(p / q) if p > 0.0 else 0.0
    second = (1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0
    return first + second


def _region(
    lost: int, gained: int, samples: int, margin: float, shares: Floats
) -> tuple[Floats, Floats, Floats]:
    """Counts (b, c) at least as extreme as the observed ones, and the log of their multinomial
    coefficients, as far as they can occur."""
    first, last = float(shares[0]), float(shares[-1])
    spread = [_SPREAD * math.sqrt(samples * p * (1.0 - p)) + 10.0 for p in (first, last)]
    fewest = max(0, math.floor(samples * first - spread[0]))
    most = min(samples, math.ceil(samples * last + spread[1]))
    flips = np.arange(fewest, most + 1)
    k = np.repeat(flips, flips + 1)
    b = np.arange(k.size) - np.repeat(np.cumsum(flips + 1) - (flips + 1), flips + 1)
    observed = float(tango_statistic(lost, gained, samples, margin))
    extreme = tango_statistic(b, k - b, samples, margin) <= observed + 1e-9
    b, k = b[extreme], k[extreme]
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
    falling = np.concatenate([[0.0], np.cumsum(np.log(samples - np.arange(most)))])
    return (
        b.astype(np.float64),
        (k - b).astype(np.float64),
        (falling[k] - factorials[b] - factorials[k - b]),
    )
