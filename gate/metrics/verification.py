"""Equal error rate of verification trials, also where trials count more or less often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class EqualErrorRate:
    """The share of wrong answers at the threshold where as large a share of impostors is accepted as
    of genuine trials refused; between two thresholds the straight line.

    Args:
        score: similarity of each trial, higher is more alike, (trials,).
        same: whether both are of one identity.

    Raises:
        ValueError: a score that is not finite, or no trial of one kind.
    """

    def __init__(self, score: npt.ArrayLike, same: npt.ArrayLike) -> None:
        scores, genuine = np.asarray(score, dtype=np.float64), np.asarray(same).astype(bool)
        if scores.shape != genuine.shape or scores.ndim != 1:
            raise ValueError(f"one score a trial: {scores.shape}, {genuine.shape}")
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
        if genuine.all() or not genuine.any():
            raise ValueError("genuine and impostor trials are both needed")
        self._order = np.argsort(scores, kind="stable")
        self._genuine = genuine[self._order]
        ordered = scores[self._order]
        # A threshold lies between different scores only: trials of one score fall together.
        self._ends = np.flatnonzero(np.append(np.diff(ordered) > 0.0, True))

    def __call__(self, weights: Floats | None = None) -> float:
        """The rate, a share in [0, 1]; NaN where the weights leave no trial of one kind."""
        drawn = np.ones(self._order.size) if weights is None else weights[self._order]
        refused = np.cumsum(np.where(self._genuine, drawn, 0.0))
        below = np.cumsum(np.where(self._genuine, 0.0, drawn))
        if refused[-1] <= 0.0 or below[-1] <= 0.0:
            return float("nan")
        rejection = np.concatenate(([0.0], refused[self._ends] / refused[-1]))
        acceptance = np.concatenate(([1.0], 1.0 - below[self._ends] / below[-1]))
        gap = rejection - acceptance
        after = int(np.argmax(gap >= 0.0))
        if gap[after] == 0.0 or after == 0:
            return float(rejection[after])
        share = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(rejection[after - 1] + share * (rejection[after] - rejection[after - 1]))


def area_under_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve, a share in [0, 1]: how often a positive sample scores above a
    negative one, ties counting half (Mann and Whitney 1947); NaN without samples of both labels.

    >>> area_under_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    truth, values = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives or not np.isfinite(values).all():
        return float("nan")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = ((last - counts + 1 + last) / 2.0)[inverse]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))
