"""Accuracy drop between two models on the same samples: score test, interval and verdict.

A PASS needs the score test (Tango, Equivalence test and confidence interval for the difference in
proportions for the paired-sample design, 1998), the hybrid score interval (Newcombe, Improved confidence
intervals for the difference between binomial proportions based on paired data, 1998, method 10) and,
where flips are few, the exact probability of ``paired_exact``; a FAIL needs the same on its side.
Shares, not per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gate.core.status import Status
from gate.metrics.paired_exact import EXACT_FLIPS, tail_probability
from gate.metrics.sample_size import ALPHA_FAIL, ALPHA_PASS, quantile, samples_needed
from gate.metrics.tango import tango_at

Floats = npt.NDArray[np.float64]
_HALVINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCounts:
    """The four cells of two models' results on the same samples."""

    both_right: int
    lost: int
    """Reference right, candidate wrong."""
    gained: int
    """Reference wrong, candidate right."""
    both_wrong: int

    @property
    def samples(self) -> int:
        """All four cells."""
        return self.both_right + self.lost + self.gained + self.both_wrong

    @property
    def drop(self) -> float:
        """Accuracy of the reference less that of the candidate."""
        return (self.lost - self.gained) / self.samples

    @property
    def flips(self) -> int:
        """Samples on which the two differ."""
        return self.lost + self.gained


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedVerdict:
    """What a sample says about a bound on the true drop."""

    status: Status
    """PASS: the drop is below the bound; FAIL: it is above; INCONCLUSIVE: neither is shown."""
    low: float
    high: float
    """The drop is above ``low`` at level 1 - alpha_fail and below ``high`` at 1 - alpha_pass: PASS is
    ``high < margin``, FAIL is ``low > margin``."""
    needed: int | None = None
    """INCONCLUSIVE only: samples in all that would decide with 90 % power, if the true drop and share of flips
    are what was measured; None where the drop is too close to the bound for any number."""


def counts(reference: str, candidate: str) -> PairedCounts:
    """Count the cells from one character a sample, ``1`` right and ``0`` wrong.

    Raises:
        ValueError: no sample, or not the same number of both.

    >>> counts("1101", "1010").lost
    2
    """
    if not reference or len(reference) != len(candidate):
        raise ValueError(f"{len(reference)} reference and {len(candidate)} candidate results")
    both = (np.frombuffer(text.encode("ascii"), np.uint8) for text in (reference, candidate))
    right, now = (characters == ord("1") for characters in both)
    return PairedCounts(
        both_right=int((right & now).sum()),
        lost=int((right & ~now).sum()),
        gained=int((~right & now).sum()),
        both_wrong=int((~right & ~now).sum()),
    )


def tango_limit(lost: int, gained: int, samples: int, alpha: float) -> float:
    """Upper limit of the drop at one-sided level ``1 - alpha``: the margin at which the score test just
    rejects. The lower limit is the upper one of the reverse: ``-tango_limit(gained, lost, ...)``."""
    low, high = (lost - gained) / samples, 1.0
    z = quantile(1.0 - alpha)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if tango_at(lost, gained, samples, middle) < -z:
            high = middle
        else:
            low = middle
    return high


def newcombe_limit(
    both_right: npt.ArrayLike,
    lost: npt.ArrayLike,
    gained: npt.ArrayLike,
    samples: int,
    alpha: float,
) -> Floats:
    """Upper limit of the drop at one-sided level ``1 - alpha`` by method 10; arrays broadcast.

    ``drop + sqrt((u1 - p1)^2 - 2 phi (u1 - p1)(p2 - l2) + (p2 - l2)^2)`` with Wilson limits l and u of
    both accuracies and phi their correlation, corrected for continuity where it is positive. The lower
    limit is the negative upper one with ``lost`` and ``gained`` exchanged.
    """
    a, b, c = (np.asarray(x, dtype=np.float64) for x in (both_right, lost, gained))
    d = samples - a - b - c
    reference, candidate = (a + b) / samples, (a + c) / samples
    above = _wilson(reference, samples, alpha)[1] - reference
    below = candidate - _wilson(candidate, samples, alpha)[0]
    product = a * d - b * c
    product = np.where(product > 0.0, np.maximum(product - samples / 2.0, 0.0), product)
    scale = np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    phi = np.divide(product, scale, out=np.zeros_like(scale), where=scale > 0.0)
    square = above * above - 2.0 * phi * above * below + below * below
    limit: Floats = reference - candidate + np.sqrt(np.maximum(square, 0.0))
    return limit


@lru_cache(maxsize=1024)  # judging and every report ask for the same
def interval(
    observed: PairedCounts, *, alpha_low: float = ALPHA_FAIL, alpha_high: float = ALPHA_PASS
) -> tuple[float, float]:
    """The drops that neither method excludes: above ``low`` at level ``1 - alpha_low``, below ``high``
    at ``1 - alpha_high``. The wider of both methods on each side."""
    b, c, n = observed.lost, observed.gained, observed.samples
    high = max(
        tango_limit(b, c, n, alpha_high),
        float(newcombe_limit(observed.both_right, b, c, n, alpha_high)),
    )
    low = -max(
        tango_limit(c, b, n, alpha_low),
        float(newcombe_limit(observed.both_right, c, b, n, alpha_low)),
    )
    return low, high


def verdict(
    observed: PairedCounts,
    margin: float,
    *,
    alpha_pass: float = ALPHA_PASS,
    alpha_fail: float = ALPHA_FAIL,
) -> PairedVerdict:
    """Decide whether the true drop is below ``margin``, above it, or whether the sample cannot tell.

    Raises:
        ValueError: ``margin`` is not in (-1, 1).
    """
    if not -1.0 < margin < 1.0:
        raise ValueError(f"a margin lies between -1 and 1, got {margin}")
    low, high = interval(observed, alpha_low=alpha_fail, alpha_high=alpha_pass)
    b, c, n = observed.lost, observed.gained, observed.samples
    exact = observed.flips <= EXACT_FLIPS
    if high < margin:
        if not exact or tail_probability(b, c, n, margin) <= alpha_pass:
            return PairedVerdict(status=Status.PASS, low=low, high=high)
        high = margin  # the exact probability does not exclude it
    elif low > margin:
        if not exact or tail_probability(c, b, n, -margin) <= alpha_fail:
            return PairedVerdict(status=Status.FAIL, low=low, high=high)
        low = margin
    alpha = alpha_pass if observed.drop < margin else alpha_fail
    needed = samples_needed(margin, observed.flips / n, observed.drop, alpha=alpha)
    return PairedVerdict(status=Status.INCONCLUSIVE, low=low, high=high, needed=needed)


def _wilson(share: Floats, samples: int, alpha: float) -> tuple[Floats, Floats]:
    """Wilson's score limits of a share."""
    z = quantile(1.0 - alpha)
    scale = 1.0 + z * z / samples
    centre = (share + z * z / (2.0 * samples)) / scale
    half = z * np.sqrt(share * (1.0 - share) / samples + (z / (2.0 * samples)) ** 2) / scale
    return centre - half, centre + half
