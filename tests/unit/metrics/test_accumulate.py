"""Streaming error sums: independent formulas, splits, layouts and damaged data."""

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gate.core.layer import ErrorSums
from gate.metrics import accumulate
from gate.metrics.accumulate import ErrorAccumulator, merge


def sums_of(x, y, axis=None):
    accumulator = ErrorAccumulator(axis)
    accumulator.update(x, y)
    return accumulator.sums()


def exact(values):
    """Correctly rounded sum, independent of any order."""
    return math.fsum(np.asarray(values, dtype=np.float64).ravel().tolist())


FINITE = st.floats(-1e6, 1e6, width=32)


@st.composite
def pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=6))
    array = hnp.arrays(np.float32, shape, elements=FINITE)
    return draw(array), draw(array)


@given(pairs(), st.sampled_from([None, 0, 1, -1]))
@settings(max_examples=60, deadline=None)
def test_sums_equal_correctly_rounded_sums(pair, axis):
    x, y = pair
    sums = sums_of(x, y, axis)
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    size = exact(x64**2) + exact(y64**2) + x.size
    for mine, truth in [
        (sums.sum_x, exact(x64)),
        (sums.sum_x2, exact(x64**2)),
        (sums.sum_y, exact(y64)),
        (sums.sum_y2, exact(y64**2)),
        (sums.sum_xy, exact(x64 * y64)),
        (sums.sum_err2, exact((x64 - y64) ** 2)),
    ]:
        assert mine == pytest.approx(truth, rel=1e-12, abs=1e-13 * size)
    assert sums.max_abs_error == np.abs(x64 - y64).max()
    assert sums.elements == x.size
    if axis is None:
        assert sums.channel_sum_x == ()
        return
    channels = np.moveaxis(x64, axis, 0).reshape(x.shape[axis], -1)
    errors = np.moveaxis(x64 - y64, axis, 0).reshape(x.shape[axis], -1)
    assert sums.channel_elements == channels.shape[1]
    assert sums.channel_sum_x == pytest.approx(
        [exact(c) for c in channels], rel=1e-12, abs=1e-13 * size
    )
    assert sums.channel_sum_x2 == pytest.approx([exact(c**2) for c in channels], rel=1e-12)
    assert sums.channel_sum_err2 == pytest.approx([exact(c**2) for c in errors], rel=1e-12)


@given(pairs(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_split_merges_to_the_whole(pair, data):
    x, y = pair
    cut = data.draw(st.integers(0, len(x)))
    left, right = sums_of(x[:cut], y[:cut], 1), sums_of(x[cut:], y[cut:], 1)
    whole, merged = sums_of(x, y, 1), merge(left, right)
    assert merged.elements == whole.elements
    assert merged.channel_elements == whole.channel_elements
    assert merged.max_abs_error == whole.max_abs_error
    scale = whole.sum_x2 + whole.sum_y2 + 1.0
    for name in ("sum_x", "sum_x2", "sum_y", "sum_y2", "sum_xy", "sum_err2"):
        assert getattr(merged, name) == pytest.approx(
            getattr(whole, name), rel=1e-13, abs=1e-14 * scale
        )
    assert merged.channel_sum_err2 == pytest.approx(whole.channel_sum_err2, rel=1e-13)
    assert merge(left, right) == merge(right, left)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 40, 70, 9), 1), ((3, 50, 9, 40), -1), ((2, 2, 300), 1), ((700, 5), 1), ((1, 999), None)],
)
def test_data_larger_than_a_block_equals_numpy(shape, axis, monkeypatch):
    monkeypatch.setattr(accumulate, "BLOCK_ELEMENTS", 256)
    generator = np.random.default_rng(1)
    x = generator.normal(size=shape).astype(np.float32)
    y = x + generator.normal(0, 0.1, size=shape).astype(np.float32)
    sums = sums_of(x, y, axis)
    error = (y.astype(np.float64) - x) ** 2
    assert sums.sum_err2 == pytest.approx(error.sum(), rel=1e-12)
    assert sums.sum_y == pytest.approx(exact(y), rel=1e-9)
    if axis is not None:
        rest = tuple(i for i in range(len(shape)) if i != axis % len(shape))
        assert sums.channel_sum_err2 == pytest.approx(error.sum(axis=rest), rel=1e-12)


def test_float32_data_is_summed_in_float64():
    x = np.full(1 << 20, 1.0 + 2.0**-12, np.float32)
    assert sums_of(x, x).sum_x == float(x[0]) * x.size


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.bool_])
def test_other_types_are_converted_not_wrapped(dtype):
    x, y = np.array([0, 1, 1], dtype), np.array([1, 0, 1], dtype)
    sums = sums_of(x, y)
    assert (sums.sum_err2, sums.max_abs_error, sums.sum_x) == (2.0, 1.0, 2.0)


def test_strided_views_are_read_right():
    base = np.arange(48, dtype=np.float32).reshape(4, 3, 4)
    view = base.transpose(2, 1, 0)[::2]
    assert sums_of(view, view + 1, 1) == sums_of(view.copy(), view.copy() + 1, 1)


def test_inputs_are_left_untouched():
    x = np.array([[1.0, np.nan], [2.0, 3.0]])
    before = x.copy()
    sums_of(x, x[::-1], 1)
    np.testing.assert_array_equal(x, before)


def test_pairs_that_are_not_finite_are_counted_and_left_out():
    x = np.array([[1.0, np.nan, 2.0, np.inf, 4.0]])
    y = np.array([[1.5, 1.0, -np.inf, np.nan, 4.0]])
    sums = sums_of(x, y, 1)
    assert (sums.elements, sums.nonfinite_reference, sums.nonfinite_candidate) == (2, 2, 2)
    assert (sums.sum_x, sums.sum_y, sums.sum_err2, sums.max_abs_error) == (5.0, 5.5, 0.25, 0.5)
    assert sums.channel_sum_err2 == (0.25, 0.0, 0.0, 0.0, 0.0)


def test_no_sum_ever_overflows():
    x = np.array([1e300, -1e308, 1e100, 5.0])
    sums = sums_of(x, np.zeros(4))
    assert (sums.elements, sums.nonfinite_reference) == (2, 2)
    assert all(math.isfinite(v) for v in (sums.sum_x, sums.sum_x2, sums.sum_err2))


def test_nothing_is_a_neutral_element():
    some = sums_of(np.ones((2, 3)), np.zeros((2, 3)), 1)
    empty = sums_of(np.ones((0, 3)), np.zeros((0, 3)), 1)
    assert merge(ErrorSums(channel_axis=1), some) == some == merge(some, empty)


@pytest.mark.parametrize(
    ("x", "y", "axis", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), None, r"\(2, 3\) differs from candidate shape \(3, 2\)"),
        (np.ones(3), np.ones(3), 1, "no channel axis 1"),
        (np.ones(3), np.ones(3) * 1j, None, "complex"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, axis, message):
    with pytest.raises(ValueError, match=message):
        ErrorAccumulator(axis).update(x, y)


def test_channels_must_stay_the_same():
    accumulator = ErrorAccumulator(1)
    accumulator.update(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="4 channels in shape"):
        accumulator.update(np.ones((2, 4)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="3 and 4 channels"):
        merge(accumulator.sums(), sums_of(np.ones((2, 4)), np.ones((2, 4)), 1))
    with pytest.raises(ValueError, match="axes 1 and None"):
        merge(accumulator.sums(), ErrorSums())


def test_memory_does_not_grow_with_the_tensor():
    x = np.ones((4, 64, 56, 56), np.float32)
    accumulator = ErrorAccumulator(1)
    tracemalloc.start()
    accumulator.update(x, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * accumulate.BLOCK_ELEMENTS * 8


def test_is_not_slower_than_three_plain_passes_in_float64():
    x = np.random.default_rng(0).normal(size=(8, 64, 56, 56)).astype(np.float32)
    y = x + np.float32(0.01)

    def plain():
        a, b = x.astype(np.float64), y.astype(np.float64)
        return ((a - b) ** 2).sum(axis=(0, 2, 3)), (a * a).sum(axis=(0, 2, 3)), (a * b).sum()

    def best(function):
        times = []
        for _ in range(3):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    assert best(lambda: sums_of(x, y, 1)) < 1.5 * best(plain)
