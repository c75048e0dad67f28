"""Intervals of error rates, mAP, AUC and mIoU: against other libraries, and their coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from gate.core.status import Status
from gate.metrics.intervals import (
    MIN_IMAGES,
    DropInterval,
    auc_drop,
    bootstrap_drops,
    clustered_ratio_drop,
    miou,
)
from gate.metrics.student_t import t_quantile

Statistic = Callable[[np.ndarray], float]


@given(st.floats(0.0005, 0.9995), st.floats(1.0, 5000.0))
@settings(deadline=None)
def test_the_t_quantile_is_scipys(probability: float, freedom: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_the_t_quantile_refuses_nonsense() -> None:
    for probability, freedom in ((0.0, 5.0), (1.0, 5.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="no t quantile"):
            t_quantile(probability, freedom)


# --- error rates by cluster ---------------------------------------------------------------------


def speakers(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of both sides and words: rates and their changes differ from speaker to speaker."""
    words = rng.integers(80, 400, count)
    rate = rng.beta(2.0, 18.0, count)
    rise = np.clip(0.01 + 0.01 * rng.normal(size=count), 0.0, None)
    before = rng.binomial(words, rate)
    after = np.minimum(before + rng.binomial(words, rise), words)
    return before, after, words


def test_the_ratio_is_that_of_the_sums() -> None:
    before, after, words = speakers(np.random.default_rng(0), 40)
    found = clustered_ratio_drop(before, after, words)
    assert found.drop == pytest.approx((after.sum() - before.sum()) / words.sum())
    assert found.freedom == 39
    # The jackknife over speakers estimates the same standard error without the formula.
    left = np.array(
        [
            (np.delete(after - before, i).sum()) / np.delete(words, i).sum()
            for i in range(len(words))
        ]
    )
    jackknife = np.sqrt(39 / 40 * ((left - left.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(jackknife, rel=0.02)


@pytest.mark.parametrize("count", [20, 60])
def test_the_ratio_covers(count: int) -> None:
    rng = np.random.default_rng(count)
    truth = [clustered_ratio_drop(*speakers(rng, 4000)).drop for _ in range(5)]
    found = [clustered_ratio_drop(*speakers(rng, count)) for _ in range(600)]
    below = np.mean([np.mean(truth) < one.high for one in found])
    above = np.mean([np.mean(truth) > one.low for one in found])
    assert below >= 0.92  # 95 % asked for
    assert above >= 0.975  # 99 %


def test_words_of_one_speaker_are_not_independent() -> None:
    """Splitting speakers into utterances must not be how an interval gets narrow."""
    rng = np.random.default_rng(3)
    before, after, words = speakers(rng, 30)
    apart = clustered_ratio_drop(np.repeat(before, 4), np.repeat(after, 4), np.repeat(words, 4))
    assert apart.standard_error < 0.55 * clustered_ratio_drop(before, after, words).standard_error


def test_ratios_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        clustered_ratio_drop([1], [2], [10])
    with pytest.raises(ValueError, match="above 0"):
        clustered_ratio_drop([1, 1], [2, 2], [10, 0])
    with pytest.raises(ValueError, match="one entry"):
        clustered_ratio_drop([1, 1], [2], [10, 10])
    few = clustered_ratio_drop([1, 2, 3], [1, 2, 4], [100, 100, 100])
    assert "3 clusters" in few.refused
    assert few.verdict(0.5) is Status.INCONCLUSIVE


# --- bootstrap over images ----------------------------------------------------------------------


def bootstrap_drop(
    before: Statistic, after: Statistic, images: int, *, seed: int, replicates: int = 1000
) -> DropInterval:
    """Of one statistic."""
    (found,) = bootstrap_drops(
        lambda w: np.array([before(w) - after(w)]), images, seed=seed, replicates=replicates
    )
    return found


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(0.7, 0.2, 400)
    after = before - 0.01 + 0.05 * rng.normal(size=400)
    found = bootstrap_drop(
        lambda w: float(w @ before / w.sum()), lambda w: float(w @ after / w.sum()), 400, seed=0
    )
    expected = np.std(before - after, ddof=1) / 20.0
    assert found.standard_error == pytest.approx(expected, rel=0.08)
    assert found.drop == pytest.approx(np.mean(before - after))
    low, high = stats.ttest_1samp(before - after, 0.0).confidence_interval(0.90)
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.refused == ""


def test_a_seed_decides_everything() -> None:
    values = np.random.default_rng(2).normal(size=50)

    def drop(seed: int) -> DropInterval:
        return bootstrap_drop(
            lambda w: float(w @ values / w.sum()), lambda w: 0.0, 50, seed=seed, replicates=50
        )

    assert drop(7) == drop(7)
    assert drop(7) != drop(8)


def test_few_images_give_no_certificate() -> None:
    values = np.random.default_rng(2).normal(size=MIN_IMAGES - 1)
    found = bootstrap_drop(
        lambda w: float(w @ values / w.sum()), lambda w: 0.0, MIN_IMAGES - 1, seed=0, replicates=20
    )
    assert f"{MIN_IMAGES - 1} images" in found.refused
    assert found.verdict(100.0) is Status.INCONCLUSIVE


def test_a_statistic_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_drop(lambda w: float("nan"), lambda w: 0.0, 10, seed=0, replicates=2)
    with pytest.raises(ValueError, match="two images"):
        bootstrap_drop(lambda w: 0.0, lambda w: 0.0, 1, seed=0)


def test_average_precision_plugs_in() -> None:
    """A statistic of ranks over detections that carry the index of their image."""
    rng = np.random.default_rng(4)
    image = np.repeat(np.arange(320), 3)
    hit = rng.random(960) < 0.6
    score = hit + rng.normal(0.0, 0.8, 960)
    worse = score + rng.normal(0.0, 0.2, 960)

    def precision(scores: np.ndarray):
        return lambda w: float(average_precision_score(hit, scores, sample_weight=w[image]))

    found = bootstrap_drop(precision(score), precision(worse), 320, seed=0, replicates=60)
    assert 0.0 < found.standard_error < 0.02
    assert found.low < found.drop < found.high


def masks(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = rng.integers(0, 4, (images, 60))
    sides = []
    for noise in (0.10, 0.13):
        wrong = rng.random(truth.shape) < noise
        sides.append(np.where(wrong, rng.integers(0, 4, truth.shape), truth))
    return truth, sides[0], sides[1]


def overlaps(truth: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = [((truth == c) & (answer == c)).sum(axis=1) for c in range(4)]
    either = [((truth == c) | (answer == c)).sum(axis=1) for c in range(4)]
    return np.stack(both, axis=1).astype(float), np.stack(either, axis=1).astype(float)


def test_miou_is_sklearns_and_its_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(5)
    truth, one, two = masks(rng, 400)
    before, after = overlaps(truth, one), overlaps(truth, two)
    expected = jaccard_score(truth.ravel(), one.ravel(), average="macro")
    assert miou(*before, np.ones(400)) == pytest.approx(expected)
    found = bootstrap_drop(
        lambda w: miou(*before, w), lambda w: miou(*after, w), 400, seed=0, replicates=300
    )
    wide, first, second = masks(rng, 20_000)
    exact = miou(*overlaps(wide, first), np.ones(20_000)) - miou(
        *overlaps(wide, second), np.ones(20_000)
    )
    assert found.low < exact < found.high
    assert found.verdict(0.10) is Status.PASS
    assert found.verdict(0.01) is Status.FAIL


def test_classes_that_occur_nowhere_are_left_out_of_miou() -> None:
    assert miou(np.array([[3.0, 0.0]]), np.array([[4.0, 0.0]]), np.ones(1)) == 0.75


# --- AUC ----------------------------------------------------------------------------------------


def scored(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = rng.random(n) < 0.4
    score = labels + rng.normal(0.0, 1.0, n)
    return labels, score, np.round(score + rng.normal(0.0, 0.3, n), 1)  # rounded: with ties


def test_auc_is_sklearns_and_its_error_the_bootstraps() -> None:
    labels, one, two = scored(np.random.default_rng(6), 500)
    found = auc_drop(labels, one, two)
    assert found.drop == pytest.approx(roc_auc_score(labels, one) - roc_auc_score(labels, two))

    def area(scores: np.ndarray):
        return lambda w: float(roc_auc_score(labels, scores, sample_weight=w))

    drawn = bootstrap_drop(area(one), area(two), 500, seed=0, replicates=250)
    assert found.standard_error == pytest.approx(drawn.standard_error, rel=0.15)


def test_auc_covers() -> None:
    rng = np.random.default_rng(8)
    truth = np.mean([auc_drop(*scored(rng, 20_000)).drop for _ in range(5)])
    found = [auc_drop(*scored(rng, 200)) for _ in range(500)]
    assert np.mean([truth < one.high for one in found]) >= 0.925
    assert np.mean([truth > one.low for one in found]) >= 0.975


def test_auc_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="two samples of each"):
        auc_drop([1, 0, 0], [1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="not finite"):
        auc_drop([1, 1, 0, 0], [1, 2, 3, np.nan], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="labels beside"):
        auc_drop([1, 1, 0, 0], [1, 2, 3], [1, 2, 3])
    assert "label" in auc_drop([1, 1, 0, 0], [4, 3, 2, 1], [4, 1, 2, 3]).refused


def test_equal_models_are_no_certificate() -> None:
    labels, one, _ = scored(np.random.default_rng(9), 200)
    found = auc_drop(labels, one, one)
    assert (found.drop, found.standard_error) == (0.0, 0.0)
    assert found.verdict(0.01) is Status.INCONCLUSIVE
