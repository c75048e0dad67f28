from __future__ import annotations

import numpy as np
import pytest

from gate.tiers.layout import choose, layouts

RNG = np.random.default_rng(0)


def tensor(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CASES = {
    "NCHW, NHWC": (tensor(2, 3, 8, 5), lambda x: x.transpose(0, 2, 3, 1)),
    "NHWC, NCHW": (tensor(2, 8, 5, 3), lambda x: x.transpose(0, 3, 1, 2)),
    "NCDHW, NDHWC": (tensor(2, 3, 4, 5, 6), lambda x: x.transpose(0, 2, 3, 4, 1)),
    "NCL, NLC": (tensor(2, 3, 7), lambda x: x.transpose(0, 2, 1)),
    "batch first, time first": (tensor(2, 5, 7), lambda x: x.transpose(1, 0, 2)),
    "pooled, with axes of one": (tensor(2, 6), lambda x: x[:, :, None, None]),
    "axes of one, pooled": (tensor(2, 6, 1, 1), lambda x: x[:, :, 0, 0]),
    "axes of one elsewhere": (tensor(2, 6, 1, 1), lambda x: x.transpose(0, 2, 3, 1)),
    "flattened as it was": (tensor(2, 3 * 4 * 5), lambda x: x.reshape(2, 3, 4, 5)),
    "flattened from channels last": (
        tensor(2, 3 * 4 * 5),
        lambda x: x.reshape(2, 3, 4, 5).transpose(0, 2, 3, 1),
    ),
    "image, flattened": (tensor(2, 3, 4, 5), lambda x: x.reshape(2, -1)),
    "image, flattened with channels last": (
        tensor(2, 3, 4, 5),
        lambda x: x.transpose(0, 2, 3, 1).reshape(2, -1),
    ),
    "steps and batch joined": (tensor(2, 5, 7), lambda x: x.reshape(10, 7)),
}


@pytest.mark.parametrize("name", CASES)
def test_another_layout_is_undone_both_ways(name: str) -> None:
    x, laid_out = CASES[name]
    y = laid_out(x)
    noisy = y + 0.01 * RNG.standard_normal(y.shape)
    layout, remark = choose(x, noisy)
    assert layout is not None
    np.testing.assert_array_equal(layout.apply(y, x.shape), x)
    np.testing.assert_array_equal(layout.back(x, y.shape), y)
    assert bool(remark) is (len(layouts(x.shape, y.shape)) > 1)


@pytest.mark.parametrize("name", [n for n in CASES if "joined" not in n and "time" not in n])
def test_the_choice_holds_for_a_smaller_last_batch(name: str) -> None:
    x, laid_out = CASES[name]
    y = laid_out(x)
    layout, _ = choose(x, y)
    assert layout is not None
    np.testing.assert_array_equal(layout.apply(y[:1], x[:1].shape), x[:1])
    np.testing.assert_array_equal(layout.back(x[:1], (1, *y.shape[1:])), y[:1])


def test_an_open_choice_is_made_by_the_values_and_said() -> None:
    x = tensor(4, 3 * 4 * 5)
    layout, remark = choose(x, x.reshape(4, 5, 4, 3).transpose(0, 2, 1, 3).copy())
    assert layout is not None  # neither fits, and the best of two bad ones is said to be a choice
    assert "correlates best" in remark
    last = x.reshape(4, 3, 4, 5).transpose(0, 2, 3, 1)
    layout, remark = choose(x, last)
    assert layout is not None
    assert layout.name in remark
    assert "flattened in order" in remark


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((2, 3, 8, 5), (2, 3, 5, 8)),  # an image transposed: a fault, no layout
        ((2, 3, 8, 5), (2, 8, 5, 4)),
        ((2, 12), (2, 13)),
        ((2, 3, 4), (2, 4, 4)),
        ((4, 6), (6, 2, 2)),
        ((), (1,)),
    ],
)
def test_what_is_no_layout_is_none(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    assert layouts(x, y) == ()
    assert choose(np.zeros(x), np.zeros(y)) == (None, "")


def test_equal_shapes_are_one_layout_whatever_they_hold() -> None:
    x = tensor(2, 4, 4, 4)
    layout, remark = choose(x, x.transpose(0, 2, 3, 1))
    assert layout is not None
    assert layout.name == "as it is"
    assert remark == ""


def test_values_that_are_not_finite_do_not_keep_a_choice_from_being_made() -> None:
    x = tensor(2, 3 * 4 * 5)
    y = x.reshape(2, 3, 4, 5).transpose(0, 2, 3, 1).copy()
    y[0, 0, 0, 0] = np.nan
    layout, _ = choose(x, y)
    assert layout is not None
    assert layout.name == "channels last before it was flattened"
    assert choose(x, np.full((2, 4, 5, 3), np.inf))[0] is not None
