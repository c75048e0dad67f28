"""Quantile of Student's t distribution, so that judging needs no SciPy."""

from __future__ import annotations

import math
from functools import cache

_TINY = 1e-300
_STEPS = 500
_HALVINGS = 200


@cache
def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of the t distribution with ``freedom`` degrees of freedom.

    By halving the incomplete beta function's continued fraction (Abramowitz and Stegun 26.7.1 and
    26.5.8); about ten digits.

    Raises:
        ValueError: ``probability`` is not in (0, 1), or ``freedom`` is not above 0.

    >>> round(t_quantile(0.975, 10), 6)
    2.228139
    """
    if not 0.0 < probability < 1.0 or not freedom > 0.0:
        raise ValueError(f"no t quantile at {probability} with {freedom} degrees of freedom")
    if probability < 0.5:
        return -t_quantile(1.0 - probability, freedom)
    low, high = 0.0, 1.0
    while _upper_tail(high, freedom) > 1.0 - probability:
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if _upper_tail(middle, freedom) > 1.0 - probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _upper_tail(t: float, freedom: float) -> float:
    """P(T > t) for t >= 0."""
    x = freedom / (freedom + t * t)
    return 0.5 * _incomplete_beta(freedom / 2.0, 0.5, x)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function by Lentz's method."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + numerator * d)
            c = _away(1.0 + numerator / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
