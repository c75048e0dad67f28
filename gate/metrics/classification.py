"""Per-sample classification metrics on logits of shape (samples, classes).

Ties are broken in one fixed way, the lowest class index first, on every machine. A sample with a
NaN logit is never right and never agrees; ``kl_divergence_nats`` gives it NaN, which ``finite_sum``
turns into "no value".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from gate.core.tensors import Array

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]


def topk_correct(logits: Array, labels: Array, k: int) -> Bools:
    """Whether each sample's label is among its ``k`` largest logits; bool, shape (samples,).

    The rank of a label counts the classes with a larger logit and those with an equal logit and a
    lower index, so exactly ``k`` classes are in the top ``k``.

    Args:
        logits: real, shape (samples, classes).
        labels: integers in [0, classes), shape (samples,).
        k: at least 1; from ``classes`` on every sample without NaN is right.

    Raises:
        ValueError: wrong shapes, a label outside the classes, or ``k`` below 1.

    >>> topk_correct(np.array([[0.1, 0.7, 0.7], [0.5, 0.2, 0.3]]), np.array([2, 0]), 1).tolist()
    [False, True]
    """
    logits, labels = _matrix(logits), np.asarray(labels)
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers of shape {logits.shape[:1]}, got {labels.dtype} {labels.shape}"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    classes = logits.shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} do not fit {classes} classes"
        )
    own = np.take_along_axis(logits, labels[:, None].astype(np.intp), axis=1)
    earlier = np.arange(classes)[None, :] < labels[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    correct: Bools = (rank < k) & ~np.isnan(logits).any(axis=1)
    return correct


def argmax_agreement(x: Array, y: Array) -> Bools:
    """Whether reference and candidate have the same arg-max; bool, shape (samples,).

    Args:
        x: logits of the reference, shape (samples, classes).
        y: logits of the candidate, same shape.

    Raises:
        ValueError: the shapes differ or are not (samples, classes).

    >>> argmax_agreement(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.1, 0.9], [0.1, 0.9]])).tolist()
    [True, False]
    """
    x, y = _pair(x, y)
    same: Bools = x.argmax(axis=1) == y.argmax(axis=1)
    return same & ~np.isnan(x).any(axis=1) & ~np.isnan(y).any(axis=1)


def kl_divergence_nats(x: Array, y: Array) -> Floats:
    """Kullback-Leibler divergence of the soft-maxed logits, a sample, in nat; float64, (samples,).

    ``sum_c p_c (log p_c - log q_c)`` with ``p = softmax(x)``, ``q = softmax(y)``, taken through
    log-softmax so that large logits neither overflow nor cancel. NaN for a sample with a logit
    that is not finite in either: sum with ``finite_sum``.

    Args:
        x: logits of the reference, shape (samples, classes).
        y: logits of the candidate, same shape.

    Raises:
        ValueError: the shapes differ or are not (samples, classes).

    Source: Kullback and Leibler, On information and sufficiency, 1951.

    >>> kl_divergence_nats(np.array([[1.0, 1.0]]), np.array([[5.0, 5.0]])).tolist()
    [0.0]
    """
    x, y = _pair(x, y)
    finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    divergence = np.full(len(x), np.nan)
    log_p, log_q = _log_softmax(x[finite]), _log_softmax(y[finite])
    # Below zero only by rounding, where the two are equal.
    divergence[finite] = np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0)
    return divergence


def finite_sum(values: Array) -> float | None:
    """Sum in float64, or None where any value is not finite.

    >>> finite_sum(np.array([1.0, 2.0])), finite_sum(np.array([1.0, np.nan]))
    (3.0, None)
    """
    total = float(np.asarray(values, dtype=np.float64).sum())
    return total if np.isfinite(total) else None


def bits(flags: Bools) -> str:
    """One character a sample, ``1`` for true: the form in which observations keep them.

    >>> bits(np.array([True, False, True]))
    '101'
    """
    return (np.asarray(flags, dtype=np.uint8) + ord("0")).tobytes().decode("ascii")


def share_percent(characters: str) -> float | None:
    """Share of ``1`` among the characters of ``bits``, in per cent; None over no sample.

    >>> share_percent("1101")
    75.0
    """
    return 100.0 * characters.count("1") / len(characters) if characters else None


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def _matrix(logits: Array) -> Floats:
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits must have shape (samples, classes), got {logits.shape}")
    return logits


def _pair(x: Array, y: Array) -> tuple[Floats, Floats]:
    x, y = _matrix(x), _matrix(y)
    if x.shape != y.shape:
        raise ValueError(f"reference shape {x.shape} differs from candidate shape {y.shape}")
    return x, y
