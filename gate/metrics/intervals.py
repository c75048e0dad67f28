"""Intervals of drops that are no shares of single samples: error rates, mAP, AUC, mIoU.

Every function takes what can be kept of a sample or a cluster of samples (its counts), for reference
and candidate alike, and gives the drop, candidate worse than reference above zero, with its standard
error and a t interval. All resampling is determined by a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.core.status import Status
from gate.metrics.sample_size import ALPHA_FAIL, ALPHA_PASS, MIN_CLUSTERS, MIN_IMAGES
from gate.metrics.student_t import t_quantile

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float64]
"""How often each image is drawn in a resample: whole numbers, (images,)."""

REPLICATES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DropInterval:
    """A drop and what it may be in general."""

    drop: float
    standard_error: float
    freedom: float
    """Degrees of freedom of the standard error."""
    low: float
    """The drop is above this at level 1 - alpha_fail."""
    high: float
    """The drop is below this at level 1 - alpha_pass."""
    refused: str = ""
    """Why no certificate can be given on it, however narrow it is; empty where it can."""
    units: int = 0
    """How many independent units it was taken over: images, utterances, samples ..."""

    def verdict(self, margin: float) -> Status:
        """PASS: the drop is below ``margin``; FAIL: above; INCONCLUSIVE: neither is shown, or there
        is too little to show anything with."""
        if self.refused:
            return Status.INCONCLUSIVE
        if self.high < margin:
            return Status.PASS
        return Status.FAIL if self.low > margin else Status.INCONCLUSIVE


def clustered_ratio_drop(
    reference_errors: npt.ArrayLike, candidate_errors: npt.ArrayLike, sizes: npt.ArrayLike
) -> DropInterval:
    """Rise of an error rate such as WER over clusters such as speakers: ratio estimator with t.

    ``d = sum D / sum N`` with D the candidate's errors less the reference's and N the words of a
    cluster; ``var d = S / (S - 1) sum (D - d N)^2 / (sum N)^2`` over S clusters, with S - 1 degrees
    of freedom (Cochran, Sampling techniques, 1977, 6.11). A few speakers who suffer most make d
    skewed: on the side where that makes the t limit too tight it is moved out by
    ``skew (2 t^2 + 1) / (6 sqrt S)`` standard errors (Hall, On the removal of skewness by
    transformation, 1992). A cluster is what is independent: one entry a speaker, not one an
    utterance.

    Args:
        reference_errors: word errors of the reference, one a cluster.
        candidate_errors: of the candidate.
        sizes: words of each cluster.

    Raises:
        ValueError: unequal lengths, fewer than two clusters, or a size that is not above 0.
    """
    before, after, words = (
        np.asarray(x, dtype=np.float64) for x in (reference_errors, candidate_errors, sizes)
    )
    if not before.shape == after.shape == words.shape or before.ndim != 1:
        raise ValueError(f"one entry a cluster: {before.shape}, {after.shape}, {words.shape}")
    clusters = before.size
    if clusters < 2 or not (words > 0.0).all():
        raise ValueError("at least two clusters are needed, each of a size above 0")
    total = float(words.sum())
    drop = float((after - before).sum()) / total
    residuals = after - before - drop * words
    variance = clusters / (clusters - 1.0) * float((residuals**2).sum()) / total**2
    refused = (
        f"{clusters} clusters, a certificate takes {MIN_CLUSTERS}"
        if clusters < MIN_CLUSTERS
        else ""
    )
    skew = _skewness(residuals) / (6.0 * clusters**0.5)
    return _t_interval(drop, variance**0.5, clusters - 1.0, refused, clusters, skew=skew)


def bootstrap_drops(
    drops: Callable[[Weights], Floats],
    images: int,
    *,
    seed: int,
    replicates: int = REPLICATES,
    least: int = MIN_IMAGES,
    noun: str = "images",
) -> tuple[DropInterval, ...]:
    """Drops of any statistics of a set of images, such as mAP, all on the same resamples.

    The standard error is that of the bootstrap over images; the interval is t with ``images - 1``
    degrees of freedom around the measured drop (percentiles of a statistic of ranks are biased).

    Args:
        drops: the drops where unit i counts ``weights[i]`` times, (drops,).
        images: how many units there are, whatever they are called.
        seed: of the resamples.
        replicates: how many resamples are drawn.
        least: fewer units give no certificate.
        noun: what the units are called.

    Raises:
        ValueError: fewer than two units, or a drop that is not finite.
    """
    if images < 2:
        raise ValueError(f"at least two {noun} are needed")
    measured = drops(np.ones(images))
    generator = np.random.default_rng(seed)
    found = np.empty((replicates, measured.size))
    for index in range(replicates):
        drawn = generator.integers(0, images, images)
        found[index] = drops(np.bincount(drawn, minlength=images).astype(np.float64))
    if not (np.isfinite(measured).all() and np.isfinite(found).all()):
        raise ValueError("the statistic is not finite on every resample")
    refused = f"{images} {noun}, a certificate takes {least}" if images < least else ""
    return tuple(
        _t_interval(float(drop), float(error), images - 1.0, refused, images)
        for drop, error in zip(measured, found.std(axis=0, ddof=1), strict=True)
    )


def miou(intersections: Floats, unions: Floats, weights: Weights) -> float:
    """Mean over classes of intersection over union, classes that occur nowhere left out.

    Args:
        intersections: pixels by image and class, (images, classes).
        unions: likewise.
        weights: how often each image counts, (images,).
    """
    inside, around = weights @ intersections, weights @ unions
    occurs = around > 0.0
    return float((inside[occurs] / around[occurs]).mean()) if occurs.any() else float("nan")


def auc_drop(
    labels: npt.ArrayLike, reference: npt.ArrayLike, candidate: npt.ArrayLike
) -> DropInterval:
    """Drop of the area under the ROC curve on the same samples, by DeLong, DeLong and Clarke-Pearson,
    Comparing the areas under two or more correlated ROC curves, 1988; ties count half.

    Args:
        labels: 1 positive, 0 negative, (samples,).
        reference: the reference's scores, higher is more positive.
        candidate: the candidate's.

    Raises:
        ValueError: unequal lengths, scores that are not finite, or fewer than two samples of a label.
    """
    truth = np.asarray(labels).astype(bool)
    scores = np.stack([np.asarray(x, dtype=np.float64) for x in (reference, candidate)])
    if scores.shape != (2, truth.size):
        raise ValueError(f"{truth.size} labels beside scores of shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) < 2:
        raise ValueError("at least two samples of each label are needed")
    areas, of_positives, of_negatives = [], [], []
    for side in scores:
        everyone, up, down = _midranks(side), _midranks(side[truth]), _midranks(side[~truth])
        of_positives.append((everyone[truth] - up) / negatives)
        of_negatives.append(1.0 - (everyone[~truth] - down) / positives)
        areas.append(float(of_positives[-1].mean()))
    up_variance = float(np.var(of_positives[0] - of_positives[1], ddof=1)) / positives
    down_variance = float(np.var(of_negatives[0] - of_negatives[1], ddof=1)) / negatives
    freedom = _satterthwaite((up_variance, positives - 1.0), (down_variance, negatives - 1.0))
    fewer = min(positives, negatives)
    refused = f"{fewer} samples of one label, a certificate takes 30" if fewer < 30 else ""
    error = (up_variance + down_variance) ** 0.5
    return _t_interval(areas[0] - areas[1], error, freedom, refused, truth.size)


def _t_interval(
    drop: float, error: float, freedom: float, refused: str, units: int, *, skew: float = 0.0
) -> DropInterval:
    below, above = t_quantile(1.0 - ALPHA_FAIL, freedom), t_quantile(1.0 - ALPHA_PASS, freedom)
    below += max(0.0, -skew * (2.0 * below * below + 1.0))
    above += max(0.0, skew * (2.0 * above * above + 1.0))
    return DropInterval(
        drop=drop,
        standard_error=error,
        freedom=freedom,
        low=drop - below * error,
        high=drop + above * error,
        refused=refused or ("no difference at all was seen" if error == 0.0 else ""),
        units=units,
    )


def _skewness(values: Floats) -> float:
    """Adjusted Fisher-Pearson coefficient; 0 where it is not defined."""
    n, centred = values.size, values - values.mean()
    second = float((centred**2).mean())
    if n < 3 or second == 0.0:
        return 0.0
    plain = float((centred**3).mean()) / (second * math.sqrt(second))
    return plain * math.sqrt(n * (n - 1.0)) / (n - 2.0)


def _satterthwaite(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances."""
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / spread if spread > 0.0 else min(freedom for _, freedom in parts)


def _midranks(values: Floats) -> Floats:
    """Ranks from one, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = ((last - counts + 1 + last) / 2.0)[inverse]
    return ranks
