"""Elementwise metrics against independent formulas, and their edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as scipy_cosine_distance
from sklearn.metrics import mean_squared_error, r2_score

from gate.core.canonical import canonical_json
from gate.core.convert import to_plain
from gate.core.layer import ErrorSums
from gate.metrics import elementwise
from gate.metrics.accumulate import ErrorAccumulator


def sums_of(x, y, axis=1):
    accumulator = ErrorAccumulator(axis)
    accumulator.update(np.asarray(x), np.asarray(y))
    return accumulator.sums()


@pytest.fixture
def pair():
    generator = np.random.default_rng(3)
    x = generator.normal(1.0, 2.0, (16, 6, 5))
    return x, x + generator.normal(0.1, 0.2, x.shape)


def test_relative_mse_is_one_minus_r2(pair):
    x, y = pair
    assert elementwise.relative_mse_percent(sums_of(x, y)) == pytest.approx(
        100 * (1 - r2_score(x.ravel(), y.ravel())), rel=1e-9
    )


def test_sqnr_equals_the_one_of_torch_ao(pair):
    from torch.ao.ns.fx.utils import compute_sqnr

    x, y = (part.astype(np.float32) for part in pair)
    assert elementwise.sqnr_db(sums_of(x, y)) == pytest.approx(
        float(compute_sqnr(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-5
    )


def test_cosine_equals_scipy(pair):
    x, y = pair
    assert elementwise.cosine(sums_of(x, y)) == pytest.approx(
        1 - scipy_cosine_distance(x.ravel(), y.ravel()), rel=1e-12
    )


def test_max_abs_error_equals_torch(pair):
    x, y = pair
    expected = torch.nn.functional.l1_loss(*map(torch.from_numpy, pair), reduction="none").max()
    assert elementwise.max_abs_error(sums_of(x, y)) == float(expected)


def test_worst_channel_nmse_equals_its_formula(pair):
    x, y = pair
    y[:, 4] += 1.0
    by_channel = [
        100 * mean_squared_error(x[:, c], y[:, c]) / (x[:, c].var() + 0.05 * x.var())
        for c in range(6)
    ]
    index, value = elementwise.worst_channel(sums_of(x, y))
    assert (index, value) == (int(np.argmax(by_channel)), pytest.approx(max(by_channel), rel=1e-9))
    assert elementwise.worst_channel_nmse_percent(sums_of(x, y)) == value


def test_worst_channel_without_channels_is_the_whole_tensor(pair):
    x, y = pair
    assert elementwise.worst_channel_nmse_percent(sums_of(x, y, None)) == pytest.approx(
        100 * ((x - y) ** 2).mean() / (1.05 * x.var()), rel=1e-9
    )


def test_bias_equals_its_formula(pair):
    x, y = pair
    assert elementwise.bias_percent(sums_of(x, y)) == pytest.approx(
        100 * abs((y - x).mean()) / x.std(), rel=1e-9
    )


def test_one_damaged_channel_of_many_shows():
    x = np.random.default_rng(0).normal(size=(64, 100))
    y = x.copy()
    y[:, 17] = 0.0
    assert elementwise.relative_mse_percent(sums_of(x, y)) < 2.0
    index, value = elementwise.worst_channel(sums_of(x, y))
    assert index == 17
    assert value > 90.0


def test_a_dead_channel_does_not_turn_rounding_into_a_failure():
    x = np.random.default_rng(0).normal(size=(64, 4))
    x[:, 2] = 1e-9
    y = x.copy()
    y[:, 2] += 1e-6
    assert elementwise.worst_channel_nmse_percent(sums_of(x, y)) < 1e-6


def test_a_lost_zero_point_shows_as_bias_and_noise_does_not():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 100))
    noise = sums_of(x, x + generator.normal(0, 0.05, x.shape))
    offset = sums_of(x, x + 0.05)
    assert elementwise.bias_percent(noise) < 0.3
    assert elementwise.bias_percent(offset) == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("name", sorted(elementwise.BY_NAME))
@pytest.mark.parametrize(
    ("x", "y"),
    [([[0.0, 0.0]], [[0.0, 0.0]]), ([[2.0, 2.0]], [[2.0, 2.0]]), ([[1.0, -3.0]], [[1.0, -3.0]])],
)
def test_equal_tensors_are_perfect_even_when_constant(name, x, y):
    perfect = {"sqnr": elementwise.SQNR_LIMIT_DB, "cosine": 1.0}.get(name, 0.0)
    assert elementwise.BY_NAME[name](sums_of(x, y)) == perfect


def test_a_constant_reference_gives_no_ratio_to_pass():
    sums = sums_of([[0.1] * 1000], [[0.2] * 1000], None)
    assert elementwise.relative_mse_percent(sums) is None
    assert elementwise.bias_percent(sums) is None
    assert elementwise.worst_channel_nmse_percent(sums) is None


def test_a_zero_tensor_on_one_side():
    zero, one = [[0.0, 0.0]], [[1.0, 2.0]]
    assert elementwise.sqnr_db(sums_of(zero, one)) == -elementwise.SQNR_LIMIT_DB
    assert elementwise.sqnr_db(sums_of(one, zero)) == 0.0
    assert elementwise.cosine(sums_of(zero, one)) is None
    assert elementwise.cosine(sums_of(one, zero)) is None


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=12),
    st.lists(st.floats(width=32), min_size=1, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_any_data_gives_a_finite_number_or_none(x, y):
    size = min(len(x), len(y))
    sums = sums_of([x[:size]], [y[:size]])
    values = {name: compute(sums) for name, compute in elementwise.BY_NAME.items()}
    assert all(value is None or math.isfinite(value) for value in values.values())
    canonical_json(to_plain(sums))
    broken = not (np.isfinite(x[:size]).all() and np.isfinite(y[:size]).all())
    assert (elementwise.why_no_value(sums) is not None) == broken
    if broken:
        assert set(values.values()) == {None}


def test_finite_looks_at_the_candidate_alone():
    good, bad = [[1.0, 2.0]], [[1.0, math.nan]]
    assert elementwise.is_finite(sums_of(good, good))
    assert not elementwise.is_finite(sums_of(good, bad))
    assert elementwise.is_finite(sums_of(bad, good))
    assert not elementwise.is_finite(ErrorSums())


def test_the_reason_counts_both_sides():
    sums = sums_of([[math.nan, math.inf, 1.0]], [[1.0, 1.0, -math.inf]])
    assert elementwise.why_no_value(sums) == (
        "2 elements of the reference are not finite and 1 element of the candidate is not finite"
    )
    assert elementwise.why_no_value(ErrorSums()) == "no elements were compared"


def test_rms():
    assert elementwise.rms(18.0, 2) == 3.0
    assert elementwise.rms(0.0, 0) is None
