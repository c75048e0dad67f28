"""How many samples a certificate of an accuracy drop needs. Plain arithmetic: imports no NumPy, so that
`gate plan` can say it.

A drop is the share of samples that the reference has right and the candidate wrong, less the share of
the reverse; psi, the share of flips, is the sum of the two. Shares, not per cent.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

ALPHA_PASS = 0.05
"""Probability, at most, of a PASS where the true drop is at the bound or beyond."""
ALPHA_FAIL = 0.01
"""Probability, at most, of a FAIL where the true drop is at the bound or below."""
POWER = 0.90
"""Probability with which the stated number of samples is to lead to a decision."""
NUISANCE_ERROR = 1e-4
"""Part of alpha that the exact probability spends on not knowing the share of flips."""
PRIOR_PSI = (0.02, 0.05)
"""Shares of flips to plan with before anything was measured: good and middling int8 networks."""
MIN_IMAGES = 300
"""With fewer the bootstrap of a mean of ranks is too narrow to certify anything."""
MIN_CLUSTERS = 20
"""With fewer utterances or speakers the variance between them is hardly known."""
LARGEST = 10**8
"""Beyond this many samples the honest answer is that there is no such number."""


@cache
def quantile(probability: float) -> float:
    """Quantile of the standard normal distribution.

    >>> round(quantile(0.95), 6)
    1.644854
    """
    return NormalDist().inv_cdf(probability)


def samples_needed(
    margin: float, psi: float, drop: float = 0.0, *, alpha: float = ALPHA_PASS, power: float = POWER
) -> int | None:
    """Samples with which a test at level ``alpha`` tells a true ``drop`` from ``margin``.

    ``((z_alpha sqrt(v) + z_power sqrt(psi - drop^2)) / (margin - drop))^2``, never less than
    :func:`samples_without_flips`; v is the larger of ``psi - margin^2`` and the variance that the
    score test will estimate at the margin, without which few flips give too little power. ``drop``
    may lie on either side of ``margin``. ``psi`` is raised to the least that both allow: there are
    no fewer flips than the drop.

    Returns:
        None where the two are so close that ``LARGEST`` samples would not do.

    >>> samples_needed(0.01, 0.04), samples_needed(0.01, 0.04, power=0.99)
    (3530, 6449)
    """
    psi = max(psi, abs(margin), abs(drop))
    if drop == margin:
        return None
    variance = max(psi - margin * margin, _score_variance(psi, drop, margin))
    at_margin = quantile(1.0 - alpha) * math.sqrt(variance)
    at_drop = quantile(power) * math.sqrt(psi - drop * drop)
    needed = ((at_margin + at_drop) / (margin - drop)) ** 2
    if not needed < LARGEST:
        return None
    least = samples_without_flips(margin, alpha=alpha) if 0.0 < margin < 1.0 else 1
    return max(math.ceil(needed), least)


def _score_variance(psi: float, drop: float, margin: float) -> float:
    """Variance of one sample at ``margin`` by Tango's estimate from the expected counts."""
    if margin < 0.0:
        return _score_variance(psi, -drop, -margin)
    linear = -psi + (2.0 - drop) * margin
    constant = -(psi - drop) / 2.0 * margin * (1.0 - margin)
    q = (math.sqrt(linear * linear - 8.0 * constant) - linear) / 4.0
    return 2.0 * q + margin * (1.0 - margin)


def samples_without_flips(margin: float, *, alpha: float = ALPHA_PASS) -> int:
    """The least number of samples that can certify a drop below ``margin``: with no flip at all.

    ``(1 - margin)^n``, the exact probability of seeing no flip where the drop is ``margin``, must not
    exceed what is left of ``alpha``; the score test alone would ask for ``z^2 (1 - margin) / margin``,
    a tenth less, at an error of 0.068 for an alpha of 0.05.

    Raises:
        ValueError: ``margin`` is not in (0, 1).

    >>> samples_without_flips(0.01)
    299
    """
    if not 0.0 < margin < 1.0:
        raise ValueError(f"a margin lies between 0 and 1, got {margin}")
    return math.ceil(math.log(alpha - NUISANCE_ERROR) / math.log1p(-margin))
