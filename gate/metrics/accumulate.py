"""Streaming sums over pairs of tensors: one pass, float64, bounded memory, mergeable.

The sums are what observations keep (``gate.core.layer.ErrorSums``); ``elementwise`` turns them into
metrics. Sums of float32 data are taken in float64 over blocks that fit the processor's cache, so
that accuracy costs little speed and no second copy of a whole activation is made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gate.core.layer import ErrorSums

if TYPE_CHECKING:
    import numpy.typing as npt

    from gate.core.tensors import Array

    Float64 = npt.NDArray[np.float64]

BLOCK_ELEMENTS = 1 << 16
"""Elements upcast at a time: three float64 blocks of this size stay within a 2 MiB cache."""

MAGNITUDE_LIMIT = 1e120
"""A float64 element beyond this counts as not finite: a sum of its squares could overflow."""


class ErrorAccumulator:
    """Adds up a reference ``x`` and a candidate ``y``, batch by batch.

    Only pairs of two finite elements enter the sums; the others are counted, and a metric over
    sums with any of them has no value. ``channel_axis`` is an axis of the batched array (usually
    1), along which the same sums are kept a channel; None keeps no channels.

    >>> accumulator = ErrorAccumulator(channel_axis=1)
    >>> accumulator.update(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    >>> sums = accumulator.sums()
    >>> sums.elements, sums.sum_err2, sums.max_abs_error, sums.channel_sum_err2
    (2, 4.0, 2.0, (0.0, 4.0))
    """

    def __init__(self, channel_axis: int | None = None) -> None:
        self._axis = channel_axis
        self._pairs = 0
        self._elements = 0
        self._nonfinite_x = 0
        self._nonfinite_y = 0
        self._totals = np.zeros(6)  # x, x2, y, y2, xy, err2
        self._max = 0.0
        self._channels: Float64 | None = None  # rows x, x2, err2; one column a channel

    def update(self, x: Array, y: Array) -> None:
        """Add one batch; ``x`` and ``y`` are real arrays of one shape, of any two dtypes.

        Raises:
            ValueError: the shapes differ, the channel axis or the number of channels does not
                fit, or the data is complex.
        """
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape:
            raise ValueError(f"reference shape {x.shape} differs from candidate shape {y.shape}")
        if np.iscomplexobj(x) or np.iscomplexobj(y):
            raise ValueError("complex tensors have no elementwise error here")
        outer, channels, inner = self._layout(x.shape)
        self._pairs += x.size
        if x.size == 0:
            return
        x, y = x.reshape(outer, channels, inner), y.reshape(outer, channels, inner)
        # A block is some rows, or where one row is larger, some channels (and a part) of one row.
        rows = max(1, BLOCK_ELEMENTS // (channels * inner))
        width = max(1, BLOCK_ELEMENTS // inner)
        length = max(1, BLOCK_ELEMENTS)
        for row in range(0, outer, rows):
            for first in range(0, channels, width):
                for start in range(0, inner, length):
                    part = np.s_[row : row + rows, first : first + width, start : start + length]
                    self._add(x[part], y[part], first)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a batch of this shape has the channels of the batches before."""
        if self._axis is None or self._channels is None:
            return True
        return (
            -len(shape) <= self._axis < len(shape) and shape[self._axis] == self._channels.shape[1]
        )

    def drop_channels(self) -> None:
        """Go on without channels: what was taken for them differs from batch to batch."""
        self._axis = self._channels = None

    def sums(self) -> ErrorSums:
        """Everything so far, as a value; the accumulator can go on."""
        total_x, total_x2, total_y, total_y2, total_xy, total_err2 = self._totals.tolist()
        channel_x, channel_x2, channel_err2 = (
            ((), (), ()) if self._channels is None else map(tuple, self._channels.tolist())
        )
        return ErrorSums(
            elements=self._elements,
            nonfinite_reference=self._nonfinite_x,
            nonfinite_candidate=self._nonfinite_y,
            sum_x=total_x,
            sum_x2=total_x2,
            sum_y=total_y,
            sum_y2=total_y2,
            sum_xy=total_xy,
            sum_err2=total_err2,
            max_abs_error=self._max,
            channel_axis=self._axis,
            channel_elements=self._pairs // len(channel_x) if channel_x else 0,
            channel_sum_x=channel_x,
            channel_sum_x2=channel_x2,
            channel_sum_err2=channel_err2,
        )

    def _layout(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(elements before, along and after the channel axis)."""
        if self._axis is None:
            return 1, 1, math.prod(shape)
        if not -len(shape) <= self._axis < len(shape):
            raise ValueError(f"shape {shape} has no channel axis {self._axis}")
        axis = self._axis % len(shape)
        channels = shape[axis]
        if self._channels is None:
            self._channels = np.zeros((3, channels))
        elif self._channels.shape[1] != channels:
            raise ValueError(
                f"{channels} channels in shape {shape}, {self._channels.shape[1]} in earlier batches"
            )
        return math.prod(shape[:axis]), channels, math.prod(shape[axis + 1 :])

    def _add(self, x_raw: Array, y_raw: Array, first_channel: int) -> None:
        x = np.array(x_raw, dtype=np.float64, order="C")
        y = np.array(y_raw, dtype=np.float64, order="C")
        x_flat, y_flat = x.ravel(), y.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            x2, y2 = _dot(x_flat, x_flat), _dot(y_flat, y_flat)
        valid = x.size
        # Squares carry every NaN and infinity into the sum, so one comparison finds them all.
        if not (x2 <= MAGNITUDE_LIMIT and y2 <= MAGNITUDE_LIMIT):
            valid = self._exclude_nonfinite(x_flat, y_flat)
            x2, y2 = _dot(x_flat, x_flat), _dot(y_flat, y_flat)
        error = y_flat - x_flat
        self._elements += valid
        self._max = max(self._max, float(error.max()), -float(error.min()))
        if self._channels is None:
            totals = (x_flat.sum(), x2, y_flat.sum(), y2, _dot(x_flat, y_flat))
            self._totals += (*totals, _dot(error, error))
            return
        by_channel = _channel_sums(x, error.reshape(x.shape))
        self._channels[:, first_channel : first_channel + x.shape[1]] += by_channel
        total_x, _, total_err2 = by_channel.sum(axis=1)
        self._totals += (total_x, x2, y_flat.sum(), y2, _dot(x_flat, y_flat), total_err2)

    def _exclude_nonfinite(self, x: Float64, y: Float64) -> int:
        """Count the elements that are not finite and turn their pairs into zeros, in place."""
        with np.errstate(invalid="ignore"):
            bad_x = ~(np.abs(x) <= MAGNITUDE_LIMIT)
            bad_y = ~(np.abs(y) <= MAGNITUDE_LIMIT)
        bad = bad_x | bad_y
        x[bad] = 0.0
        y[bad] = 0.0
        self._nonfinite_x += int(bad_x.sum())
        self._nonfinite_y += int(bad_y.sum())
        return int(x.size - bad.sum())


def merge(a: ErrorSums, b: ErrorSums) -> ErrorSums:
    """Sums over the data of both, as one accumulator would have taken them (to rounding).

    Raises:
        ValueError: the two were taken along other channel axes or over other channels.

    >>> left, right = ErrorAccumulator(None), ErrorAccumulator(None)
    >>> left.update(np.array([1.0]), np.array([2.0]))
    >>> right.update(np.array([3.0]), np.array([3.0]))
    >>> merge(left.sums(), right.sums()).sum_x
    4.0
    """
    if a.channel_axis != b.channel_axis:
        raise ValueError(f"channel axes {a.channel_axis} and {b.channel_axis} cannot be merged")
    # A part that saw no batch does not know its number of channels yet.
    if a.channel_sum_x and b.channel_sum_x and len(a.channel_sum_x) != len(b.channel_sum_x):
        raise ValueError(
            f"{len(a.channel_sum_x)} and {len(b.channel_sum_x)} channels cannot be merged"
        )
    return ErrorSums(
        elements=a.elements + b.elements,
        nonfinite_reference=a.nonfinite_reference + b.nonfinite_reference,
        nonfinite_candidate=a.nonfinite_candidate + b.nonfinite_candidate,
        sum_x=a.sum_x + b.sum_x,
        sum_x2=a.sum_x2 + b.sum_x2,
        sum_y=a.sum_y + b.sum_y,
        sum_y2=a.sum_y2 + b.sum_y2,
        sum_xy=a.sum_xy + b.sum_xy,
        sum_err2=a.sum_err2 + b.sum_err2,
        max_abs_error=max(a.max_abs_error, b.max_abs_error),
        channel_axis=a.channel_axis,
        channel_elements=a.channel_elements + b.channel_elements,
        channel_sum_x=_plus(a.channel_sum_x, b.channel_sum_x),
        channel_sum_x2=_plus(a.channel_sum_x2, b.channel_sum_x2),
        channel_sum_err2=_plus(a.channel_sum_err2, b.channel_sum_err2),
    )


def _plus(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(i + j for i, j in zip(a, b, strict=True)) if a and b else a or b


def _dot(a: Float64, b: Float64) -> float:
    # Not np.dot: BLAS may split the sum over threads, which changes the last bits and takes
    # processors from the runtime that is being measured.
    return float(np.einsum("i,i->", a, b))


def _channel_sums(x: Float64, error: Float64) -> Float64:
    """Rows sum x, sum x^2, sum error^2 of (rows, channels, inner) blocks; one column a channel."""
    if x.shape[2] == 1:
        x, error = x[:, :, 0], error[:, :, 0]
        return np.stack([x.sum(axis=0), (x * x).sum(axis=0), (error * error).sum(axis=0)])
    return np.stack(
        [
            x.sum(axis=2).sum(axis=0),
            np.einsum("rci,rci->rc", x, x).sum(axis=0),
            np.einsum("rci,rci->rc", error, error).sum(axis=0),
        ]
    )
