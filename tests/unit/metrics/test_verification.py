"""Equal error rate and area under the curve, against scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from gate.metrics.verification import EqualErrorRate, area_under_curve


def trials(seed, count=300):
    generator = np.random.default_rng(seed)
    same = generator.random(count) < 0.3
    return np.round(generator.normal(np.where(same, 1.0, 0.0), 1.0), 2), same


@pytest.mark.parametrize("seed", range(5))
def test_is_where_the_curve_of_scikit_learn_crosses(seed):
    score, same = trials(seed)
    accepted, genuine, _ = roc_curve(same, score, drop_intermediate=False)
    expected = brentq(lambda x: 1.0 - x - np.interp(x, accepted, genuine), 0.0, 1.0)
    assert EqualErrorRate(score, same)() == pytest.approx(expected, abs=1e-9)


def test_weights_are_repeated_trials():
    score, same = trials(9)
    weights = np.random.default_rng(1).integers(0, 4, score.size)
    repeated = EqualErrorRate(np.repeat(score, weights), np.repeat(same, weights))()
    assert EqualErrorRate(score, same)(weights.astype(float)) == pytest.approx(repeated, abs=1e-12)


def test_perfect_and_reversed_scores():
    same = np.array([True] * 4 + [False] * 6)
    assert EqualErrorRate(same * 1.0, same)() == 0.0
    assert EqualErrorRate(same * -1.0, same)() == 1.0
    assert EqualErrorRate(np.zeros(10), same)() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("score", "same", "message"),
    [
        ([0.1, np.nan], [1, 0], "not finite"),
        ([0.1, 0.2], [1, 1], "both needed"),
        ([0.1, 0.2, 0.3], [1, 0], "one score a trial"),
    ],
)
def test_refuses_what_has_no_rate(score, same, message):
    with pytest.raises(ValueError, match=message):
        EqualErrorRate(score, same)


@pytest.mark.parametrize("seed", range(3))
def test_area_is_that_of_scikit_learn(seed):
    score, same = trials(seed)
    assert area_under_curve(same, score) == pytest.approx(roc_auc_score(same, score), abs=1e-12)


def test_area_needs_both_labels():
    assert np.isnan(area_under_curve([1, 1], [0.1, 0.2]))
