"""Classification metrics against scikit-learn, scipy and torch, with ties and NaN."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr, softmax
from sklearn.metrics import top_k_accuracy_score

from gate.metrics.classification import (
    argmax_agreement,
    bits,
    finite_sum,
    kl_divergence_nats,
    share_percent,
    topk_correct,
)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(300, 11)).astype(np.float32)


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, 11, 300)


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_topk_equals_sklearn_and_torch(logits, labels, k):
    correct = topk_correct(logits, labels, k)
    assert correct.mean() == top_k_accuracy_score(labels, logits, k=k, labels=range(11))
    top = torch.from_numpy(logits).topk(k).indices.numpy()
    np.testing.assert_array_equal(correct, (top == labels[:, None]).any(axis=1))


@given(hnp.arrays(np.int8, (6, 5), elements=st.integers(0, 2)), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_exactly_k_labels_are_right_however_many_ties(logits, k):
    right = sum(topk_correct(logits, np.full(6, c), k).astype(int) for c in range(5))
    np.testing.assert_array_equal(right, np.full(6, k))
    stable = np.argsort(-logits.astype(int), axis=1, kind="stable")[:, :k]
    for row, chosen in enumerate(stable):
        for c in range(5):
            assert topk_correct(logits, np.full(6, c), k)[row] == (c in chosen)


def test_nan_is_never_right():
    logits = np.array([[np.nan, 1.0], [1.0, np.nan], [0.0, 1.0]])
    assert topk_correct(logits, np.array([0, 0, 1]), 2).tolist() == [False, False, True]
    assert argmax_agreement(logits, logits).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("logits", "labels", "k", "message"),
    [
        (np.ones((2, 3)), np.array([0, 3]), 1, "labels from 0 to 3 do not fit 3 classes"),
        (np.ones((2, 3)), np.array([-1, 0]), 1, "labels from -1"),
        (np.ones((2, 3)), np.array([0]), 1, "shape \\(2,\\)"),
        (np.ones((2, 3)), np.array([0.0, 1.0]), 1, "integers"),
        (np.ones((2, 3)), np.array([0, 1]), 0, "at least 1"),
        (np.ones((2, 3, 4)), np.array([0, 1]), 1, "\\(samples, classes\\)"),
        (np.ones((2, 0)), np.array([0, 1]), 1, "\\(samples, classes\\)"),
    ],
)
def test_what_is_no_classification_is_refused(logits, labels, k, message):
    with pytest.raises(ValueError, match=message):
        topk_correct(logits, labels, k)


def test_kl_equals_scipy_and_torch(logits):
    other = logits + np.random.default_rng(2).normal(0, 0.3, logits.shape)
    mine = kl_divergence_nats(logits, other)
    p, q = softmax(logits.astype(float), axis=1), softmax(other, axis=1)
    np.testing.assert_allclose(mine, rel_entr(p, q).sum(axis=1), rtol=1e-9, atol=1e-14)
    log_p, log_q = (torch.from_numpy(np.float64(a)).log_softmax(1) for a in (logits, other))
    theirs = torch.nn.functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)
    np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-9, atol=1e-14)


def test_kl_is_stable_shift_invariant_and_not_negative(logits):
    huge = logits * 1e4
    assert np.isfinite(kl_divergence_nats(huge, -huge)).all()
    np.testing.assert_allclose(kl_divergence_nats(logits, logits + 1000), 0.0, atol=1e-4)
    assert (kl_divergence_nats(logits, logits) == 0.0).all()
    assert (kl_divergence_nats(logits, np.nextafter(logits, 9)) >= 0.0).all()


def test_kl_of_damaged_samples_has_no_sum(logits):
    broken = logits.copy()
    broken[3, 2] = np.inf
    kl = kl_divergence_nats(logits, broken)
    assert np.isnan(kl[3])
    assert np.isfinite(np.delete(kl, 3)).all()
    assert finite_sum(kl) is None
    assert finite_sum(np.delete(kl, 3)) is not None


def test_agreement_is_symmetric_and_takes_the_lowest_index(logits):
    other = np.roll(logits, 1, axis=1)
    np.testing.assert_array_equal(argmax_agreement(logits, other), argmax_agreement(other, logits))
    assert argmax_agreement(np.array([[1.0, 1.0]]), np.array([[2.0, 1.0]])).all()
    with pytest.raises(ValueError, match="differs"):
        argmax_agreement(logits, logits[:, :3])


def test_bits_are_one_character_a_sample():
    flags = np.array([True, False, False, True])
    assert bits(flags) == "1001"
    assert bits(np.zeros(0, bool)) == ""
    assert share_percent(bits(flags)) == 50.0
    assert share_percent("") is None
