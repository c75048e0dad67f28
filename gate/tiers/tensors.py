"""Axes of tensors as layers and outputs have them."""

from __future__ import annotations

from gate.core.tensors import Array
from gate.metrics.accumulate import ErrorAccumulator

CHANNELS = 16384
"""More than this along the axis are positions rather than channels (a flattened image); sums for
each of them would outgrow the tensor's own use."""


def channel_axis(shape: tuple[int, ...], *, last: bool = False) -> int | None:
    """Axis along which worst-channel metrics are taken; ``shape`` includes the batch axis.

    1 for (N, C) and for NCHW and NCDHW; the last for (N, T, C) sequences and, with ``last``, for NHWC
    and NDHWC; None below two axes and for more than ``CHANNELS`` channels.
    """
    if len(shape) < 2:
        return None
    axis = len(shape) - 1 if last or len(shape) == 3 else 1
    return axis if shape[axis] <= CHANNELS else None


def add_errors(errors: ErrorAccumulator, x: Array, y: Array) -> None:
    """Add one batch; an axis whose length changes between batches holds positions, not channels."""
    if not errors.fits(x.shape):
        errors.drop_channels()
    errors.update(x, y)
