"""Conformance kit that every metric over ``ErrorSums`` passes. Subclass it once a metric::

class TestSqnr(ElementwiseMetricKit):
    tier, name, compute = Tier.NUMERICAL, "sqnr", staticmethod(sqnr_db)
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest

from gate.core.convert import from_plain, to_plain
from gate.core.layer import ErrorSums
from gate.core.status import Tier
from gate.core.tensors import Array
from gate.metrics.accumulate import ErrorAccumulator, merge
from gate.metrics.catalogue import BY_NAME, Direction


def sums_of(x: Array, y: Array, channel_axis: int | None = 1) -> ErrorSums:
    """Sums over one pair of arrays."""
    accumulator = ErrorAccumulator(channel_axis)
    accumulator.update(x, y)
    return accumulator.sums()


class ElementwiseMetricKit:
    """What the judge relies on; each test runs on the same small activation-like tensor."""

    tier: ClassVar[Tier]
    name: ClassVar[str]

    @staticmethod
    def compute(sums: ErrorSums) -> float | None:
        """The function under test; replace it with ``staticmethod(function)``."""
        raise NotImplementedError  # the kit has no metric of its own

    @pytest.fixture
    def x(self) -> Array:
        """Reference activations, float32, shape (8, 4, 5, 3), channels of unequal size."""
        generator = np.random.default_rng(7)
        scale = np.array([0.1, 1.0, 3.0, 10.0]).reshape(1, 4, 1, 1)
        x: Array = (generator.normal(0.5, 1.0, (8, 4, 5, 3)) * scale).astype(np.float32)
        return x

    def value(self, x: Array, y: Array, channel_axis: int | None = 1) -> float:
        """The metric of one pair of arrays, which must have one."""
        value = self.compute(sums_of(x, y, channel_axis))
        assert value is not None
        assert math.isfinite(value)
        return value

    def test_is_in_the_catalogue(self) -> None:
        """A spec can name it, and it has a unit, a direction and a formula."""
        info = BY_NAME[self.tier, self.name]
        assert info.formula
        assert info.subject in {"output", "layer", "class", "case"}
        assert info.unit in {"", "%", "pp", "dB", "nat", "bool"}

    def test_no_error_is_the_best_value(self, x: Array) -> None:
        """Better in the catalogue's direction than with an error, and never worse than it."""
        better = BY_NAME[self.tier, self.name].direction
        perfect, off = self.value(x, x), self.value(x, x * 0.8 + 0.3)
        assert perfect > off if better is Direction.HIGHER else perfect < off

    def test_more_error_is_never_better(self, x: Array) -> None:
        """Monotone along a growing error of one shape."""
        error = np.random.default_rng(8).normal(0.2, 1.0, x.shape)
        values = [self.value(x, x + size * error) for size in (0.01, 0.1, 1.0)]
        falling = BY_NAME[self.tier, self.name].direction is Direction.HIGHER
        assert values == sorted(values, reverse=falling)

    @pytest.mark.parametrize("parts", [2, 3, 8])
    def test_merged_parts_equal_the_whole(self, x: Array, parts: int) -> None:
        """Any split over the batch gives what one pass gives."""
        y = x + np.random.default_rng(9).normal(0.0, 0.1, x.shape).astype(np.float32)
        merged = ErrorSums(channel_axis=1)
        for x_part, y_part in zip(np.array_split(x, parts), np.array_split(y, parts), strict=True):
            merged = merge(merged, sums_of(x_part, y_part))
        assert self.compute(merged) == pytest.approx(self.value(x, y), rel=1e-12)

    def test_order_of_samples_does_not_matter(self, x: Array) -> None:
        """A permutation along the batch changes nothing but rounding."""
        y = x + np.random.default_rng(10).normal(0.0, 0.1, x.shape).astype(np.float32)
        order = np.random.default_rng(11).permutation(len(x))
        assert self.value(x[order], y[order]) == pytest.approx(self.value(x, y), rel=1e-12)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("side", ["reference", "candidate"])
    def test_has_no_value_where_data_is_not_finite(self, x: Array, bad: float, side: str) -> None:
        """One bad element is enough: None, which no bound can pass."""
        arrays = {"reference": x.copy(), "candidate": x.copy()}
        arrays[side][2, 1, 0, 0] = bad
        assert self.compute(sums_of(arrays["reference"], arrays["candidate"])) is None

    def test_has_no_value_over_nothing(self) -> None:
        """No element compared is not a perfect score."""
        assert self.compute(ErrorSums()) is None

    def test_survives_the_file(self, x: Array) -> None:
        """The sums read back from an observation give the same value to the last bit."""
        sums = sums_of(x, x * 0.99)
        assert self.compute(from_plain(ErrorSums, to_plain(sums))) == self.compute(sums)
