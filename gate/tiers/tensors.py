"""Axes of tensors as layers and outputs have them."""

from __future__ import annotations

from gate.core.tensors import Array


def channel_axis(rank: int) -> int | None:
    """Axis along which worst-channel metrics are taken, batch axis included in ``rank``.

    1 for (N, C) and for NCHW and NCDHW; the last for (N, T, C) sequences; none below two axes.
    """
    if rank < 2:
        return None
    return 2 if rank == 3 else 1


def aligned(x: Array, y: Array) -> Array | None:
    """``y`` in the layout of ``x``, or None where it has another shape.

    NHWC against NCHW is recognised where shapes prove it: moving the channels makes the shapes
    equal, and leaving them does not match even the number of channels. Where axis 1 agrees, a
    transposed image looks the same as another layout, and nothing is assumed.
    """
    if x.shape == y.shape:
        return y
    if x.ndim != 4 or y.ndim != 4 or x.shape[1] == y.shape[1]:
        return None
    for order in ((0, 3, 1, 2), (0, 2, 3, 1)):
        if tuple(y.shape[axis] for axis in order) == x.shape:
            return y.transpose(order)
    return None
