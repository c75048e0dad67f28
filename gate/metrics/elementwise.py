"""Metrics of elementwise error, computed from ``ErrorSums``.

x is the reference, y the candidate; means, variances and norms run over all elements of all
samples. A metric of damaged sums (an element that was not finite, or no element at all) has no
value: the functions return None, never NaN and never an infinity, and ``why_no_value`` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gate.core.layer import ErrorSums

SQNR_LIMIT_DB = 200.0
"""Where the error (or the reference) is exactly zero the ratio has no logarithm, and JSON no word for
its limit. Float32 data ends near 150 dB, so 200 dB is told from any real noise."""

DEAD_CHANNEL_SHARE = 0.05
"""Share of the whole tensor's variance that is added to a channel's own, so that a channel that
is nearly constant does not turn rounding noise into a large ratio."""

_CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding: the data is constant."""


def is_finite(sums: ErrorSums) -> bool:
    """Whether the candidate had elements and none of them was NaN or infinite.

    >>> is_finite(ErrorSums(elements=3)), is_finite(ErrorSums(elements=3, nonfinite_candidate=1))
    (True, False)
    """
    return sums.elements > 0 and sums.nonfinite_candidate == 0


def why_no_value(sums: ErrorSums) -> str | None:
    """Why no metric but ``finite`` has a value over these sums; None where they are sound.

    >>> why_no_value(ErrorSums(elements=3, nonfinite_candidate=1))
    '1 element of the candidate is not finite'
    """
    if sums.elements and not (sums.nonfinite_reference or sums.nonfinite_candidate):
        return None  # asked for every metric of every layer
    reasons = [
        f"{count} element{'s' if count > 1 else ''} of the {side} "
        f"{'are' if count > 1 else 'is'} not finite"
        for side, count in (
            ("reference", sums.nonfinite_reference),
            ("candidate", sums.nonfinite_candidate),
        )
        if count
    ]
    return " and ".join(reasons) or "no elements were compared"


def relative_mse_percent(sums: ErrorSums) -> float | None:
    """Mean squared error relative to the reference's variance, in per cent.

    ``100 mean((x - y)^2) / var(x)``. 0 where the error is zero; None where the reference is
    constant and the candidate is not equal to it.

    >>> relative_mse_percent(ErrorSums(elements=2, sum_x2=2.0, sum_err2=0.02))
    1.0
    """
    if why_no_value(sums):
        return None
    if sums.sum_err2 == 0.0:
        return 0.0
    variance = _variance(sums.sum_x, sums.sum_x2, sums.elements)
    return 100.0 * sums.sum_err2 / sums.elements / variance if variance > 0.0 else None


def sqnr_db(sums: ErrorSums) -> float | None:
    """Signal to quantization noise ratio, in decibel.

    ``20 log10(||x|| / ||x - y||)``, within +-``SQNR_LIMIT_DB``: +200 dB stands for no error at
    all, -200 dB for an error beside a reference that is zero everywhere.

    >>> round(sqnr_db(ErrorSums(elements=2, sum_x2=100.0, sum_err2=1.0)), 9)
    20.0
    """
    if why_no_value(sums):
        return None
    if sums.sum_err2 == 0.0:
        return SQNR_LIMIT_DB
    if sums.sum_x2 == 0.0:
        return -SQNR_LIMIT_DB
    ratio = 10.0 * (math.log10(sums.sum_x2) - math.log10(sums.sum_err2))
    return min(SQNR_LIMIT_DB, max(-SQNR_LIMIT_DB, ratio))


def cosine(sums: ErrorSums) -> float | None:
    """Cosine similarity of the two tensors, a pure number within [-1, 1].

    ``<x, y> / (||x|| ||y||)``. 1 where the two are equal; None where one of them (only) is zero
    everywhere and has no direction. Blind to a wrong scale: use it beside another metric.

    >>> cosine(ErrorSums(elements=2, sum_x2=4.0, sum_y2=1.0, sum_xy=2.0, sum_err2=1.0))
    1.0
    """
    if why_no_value(sums):
        return None
    if sums.sum_err2 == 0.0:
        return 1.0
    norms = math.sqrt(sums.sum_x2) * math.sqrt(sums.sum_y2)
    return min(1.0, max(-1.0, sums.sum_xy / norms)) if norms > 0.0 else None


def max_abs_error(sums: ErrorSums) -> float | None:
    """Largest ``|x - y|``, in the unit of the data.

    >>> max_abs_error(ErrorSums(elements=2, max_abs_error=0.5))
    0.5
    """
    return None if why_no_value(sums) else sums.max_abs_error


def worst_channel_nmse_percent(sums: ErrorSums) -> float | None:
    """Normalised error of the channel where it is largest, in per cent.

    ``max over channels c of 100 mean_c((x - y)^2) / (var_c(x) + 0.05 var(x))``. The tensor is one
    channel where it has no channel axis. 0 where the error is zero; None where a channel has an
    error and the whole reference is constant.

    >>> worst_channel_nmse_percent(ErrorSums(elements=4, sum_x2=4.0, sum_err2=0.42, channel_axis=1,
    ...     channel_elements=2, channel_sum_x=(0.0, 0.0), channel_sum_x2=(2.0, 2.0),
    ...     channel_sum_err2=(0.0, 0.42)))
    20.0
    """
    channels = worst_channel(sums)
    return None if channels is None else channels[1]


def worst_channel(sums: ErrorSums) -> tuple[int, float] | None:
    """Index and normalised error (per cent) of the channel where it is largest; None as above.

    Ties go to the lowest index.
    """
    if why_no_value(sums):
        return None
    if sums.sum_err2 == 0.0:
        return 0, 0.0
    whole = _variance(sums.sum_x, sums.sum_x2, sums.elements)
    if sums.channel_sum_x:
        count = sums.channel_elements
        rows = zip(sums.channel_sum_x, sums.channel_sum_x2, sums.channel_sum_err2, strict=True)
    else:
        count = sums.elements
        rows = zip((sums.sum_x,), (sums.sum_x2,), (sums.sum_err2,), strict=True)
    worst = (0, 0.0)
    for index, (sum_x, sum_x2, sum_err2) in enumerate(rows):
        denominator = _variance(sum_x, sum_x2, count) + DEAD_CHANNEL_SHARE * whole
        if sum_err2 > 0.0 and denominator <= 0.0:
            return None
        nmse = 100.0 * sum_err2 / count / denominator if sum_err2 > 0.0 else 0.0
        if nmse > worst[1]:
            worst = (index, nmse)
    return worst


def bias_percent(sums: ErrorSums) -> float | None:
    """Mean error relative to the reference's standard deviation, in per cent.

    ``100 |mean(y - x)| / std(x)``: rounding noise averages out, a wrong zero point or a lost bias
    does not. 0 where the error is zero; None where the reference is constant otherwise.

    >>> bias_percent(ErrorSums(elements=2, sum_x2=2.0, sum_y=0.02, sum_err2=0.0002))
    1.0
    """
    if why_no_value(sums):
        return None
    if sums.sum_err2 == 0.0:
        return 0.0
    deviation = math.sqrt(_variance(sums.sum_x, sums.sum_x2, sums.elements))
    if deviation == 0.0:
        return None
    return 100.0 * abs(sums.sum_y - sums.sum_x) / sums.elements / deviation


def rms(sum_of_squares: float, elements: int) -> float | None:
    """Root mean square, in the unit of the data; None over no elements.

    >>> rms(8.0, 2)
    2.0
    """
    return math.sqrt(sum_of_squares / elements) if elements else None


BY_NAME: Mapping[str, Callable[[ErrorSums], float | None]] = MappingProxyType(
    {
        "relative_mse": relative_mse_percent,
        "sqnr": sqnr_db,
        "cosine": cosine,
        "max_abs_error": max_abs_error,
        "worst_channel_nmse": worst_channel_nmse_percent,
        "bias": bias_percent,
    }
)
"""Catalogue name -> function; the value is in the catalogue's unit."""


def _variance(total: float, total_of_squares: float, count: int) -> float:
    """Population variance from sums; exactly 0 where it is rounding noise alone."""
    mean_square = total_of_squares / count
    variance = mean_square - (total / count) ** 2
    return variance if variance > _CONSTANT * mean_square else 0.0
