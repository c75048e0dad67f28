"""Exact one-sided error of verdicts on a paired accuracy drop, by enumeration instead of simulation.

The number of flips k is binomial in (n, psi); of those the number lost, b, is binomial in
(k, (psi + drop) / 2 psi); of the rest, the number that both have right is binomial in
(n - k, share). Every verdict here lets b below a critical value pass, so that an error is a sum of
binomial tails over k (and over what both have right, for Newcombe's interval). What lies beyond
6.5 standard deviations is not enumerated; its whole probability is added to the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from gate.metrics.paired import newcombe_limit
from gate.metrics.paired_exact import EXACT_FLIPS, tail_probability
from gate.metrics.sample_size import ALPHA_FAIL, ALPHA_PASS, quantile
from gate.metrics.tango import tango_statistic

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]

SPREAD = 6.5
BLOCKS = 96
"""Values of "both right" that are looked at; between two of them the worse critical value holds."""
METHODS = ("wald", "newcombe", "tango", "both", "gate")


@dataclass(frozen=True, slots=True)
class Errors:
    """Probability of a PASS and of a FAIL where the true drop is the margin."""

    false_pass: float
    false_fail: float


def enumerate_errors(
    n: int, psi: float, margin: float, accuracy: float, *, drop: float | None = None
) -> Mapping[str, Errors]:
    """Probability of PASS and FAIL of every method; errors where the true drop is the margin.

    Args:
        n: samples.
        psi: share of flips, at least ``margin``.
        margin: the bound, above 0.
        accuracy: of the reference; Newcombe's interval depends on it a little.
        drop: the true drop; ``margin`` where not given.
    """
    k, of_k = _window(n, psi)
    lost = (psi + (margin if drop is None else drop)) / 2.0
    lose = lost / psi
    right, of_right, left_out = _both_right(n, k, (accuracy - lost) / (1.0 - psi))
    left_out += max(0.0, 1.0 - float(of_k.sum()))
    found = []
    for passes in (True, False):
        side = Side(n=n, margin=margin, passes=passes)
        tango = side.critical(lambda b, s=side: s.tango(b, k), k)
        wald = side.critical(lambda b, s=side: s.wald(b, k), k)
        wide = np.broadcast_to(k[:, None], right.shape)
        edges = side.critical(lambda b, s=side, w=wide: s.newcombe(right, b, w), wide)
        # Of a block the more lenient end.
        hybrid = side.lenient(edges[:, :-1], edges[:, 1:])
        exact = side.with_exact(tango, k)
        criticals = {
            "wald": wald[:, None],
            "newcombe": hybrid,
            "tango": tango[:, None],
            "both": side.strict(hybrid, tango[:, None]),
            "gate": side.strict(hybrid, exact[:, None]),
        }
        found.append(
            {
                method: float((of_k[:, None] * of_right * side.tail(at, k[:, None], lose)).sum())
                + left_out
                for method, at in criticals.items()
            }
        )
    return {method: Errors(found[0][method], found[1][method]) for method in METHODS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two errors: PASS or FAIL where the true drop is ``margin``."""

    n: int
    margin: float
    passes: bool

    @property
    def alpha(self) -> float:
        """Level of the side."""
        return ALPHA_PASS if self.passes else ALPHA_FAIL

    def critical(self, decides: Callable[[Ints], Truths], k: Ints) -> Ints:
        """PASS: the largest b that passes, -1 where none does. FAIL: the smallest b that fails,
        k + 1 where none does. ``decides`` is monotone in b."""
        low, high = np.full(k.shape, -1), np.array(k) + 1
        while (open_ := high - low > 1).any():
            middle = (low + high) // 2
            up = decides(np.clip(middle, 0, k)) == self.passes
            low = np.where(open_ & up, middle, low)
            high = np.where(open_ & ~up, middle, high)
        return low if self.passes else high

    def tail(self, critical: Ints, k: Ints, lose: float) -> Floats:
        """Probability of a b that decides."""
        if self.passes:
            return binom.cdf(critical, k, lose)
        return binom.sf(critical - 1, k, lose)

    def strict(self, first: Ints, second: Ints) -> Ints:
        """Critical values of both rules together."""
        return np.minimum(first, second) if self.passes else np.maximum(first, second)

    def lenient(self, first: Ints, second: Ints) -> Ints:
        """Critical values of either rule."""
        return np.maximum(first, second) if self.passes else np.minimum(first, second)

    def tango(self, b: Ints, k: Ints) -> Truths:
        """The score test alone."""
        statistic, z = tango_statistic(b, k - b, self.n, self.margin), quantile(1.0 - self.alpha)
        return statistic < -z if self.passes else statistic > z

    def wald(self, b: Ints, k: Ints) -> Truths:
        """The textbook interval: measured drop and its own standard error."""
        distance = 2.0 * b - k - self.n * self.margin
        variance = np.maximum(k - (2.0 * b - k) ** 2 / self.n, 0.0)
        limit = quantile(1.0 - self.alpha) * np.sqrt(variance)
        return distance < -limit if self.passes else distance > limit

    def newcombe(self, right: Ints, b: Ints, k: Ints) -> Truths:
        """Method 10 alone."""
        if self.passes:
            return newcombe_limit(right, b, k - b, self.n, self.alpha) < self.margin
        return -newcombe_limit(right, k - b, b, self.n, self.alpha) > self.margin

    def with_exact(self, critical: Ints, k: Ints) -> Ints:
        """Critical values after the exact probability has had its say, where flips are few."""
        found = critical.copy()
        for place, flips in enumerate(k[k <= EXACT_FLIPS]):
            found[place] = _exact_critical(self, int(flips), int(critical[place]))
        return found


@cache
def _exact_critical(side: Side, k: int, start: int) -> int:
    b = start
    if side.passes:
        while b >= 0 and tail_probability(b, k - b, side.n, side.margin) > side.alpha:
            b -= 1
    else:
        while b <= k and tail_probability(k - b, b, side.n, -side.margin) > side.alpha:
            b += 1
    return b


def _window(n: int, psi: float) -> tuple[Ints, Floats]:
    spread = SPREAD * np.sqrt(n * psi * (1.0 - psi)) + 10.0
    k = np.arange(max(0, int(n * psi - spread)), min(n, int(n * psi + spread)) + 1)
    return k, binom.pmf(k, n, psi)


def _both_right(n: int, k: Ints, share: float) -> tuple[Ints, Floats, float]:
    """Edges of blocks of "both right" (k, edges), the probability of each block (k, edges - 1), and
    what is left out."""
    spread = SPREAD * np.sqrt(n * share * (1.0 - share)) + 10.0
    low, high = max(0, int((n - k[-1]) * share - spread)), min(n, int(n * share + spread))
    edges = np.unique(np.linspace(low, high + 1, min(BLOCKS, high + 1 - low) + 1).astype(int))
    below = binom.cdf(edges[None, :] - 1, n - k[:, None], share)
    blocks = np.diff(below, axis=1)
    rows = np.minimum(edges[None, :], n - k[:, None])
    return rows, blocks, float((1.0 - blocks.sum(axis=1)).max())
