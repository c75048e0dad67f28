"""One tensor laid out in two ways: which axes of the candidate's are which of the reference's.

Recognised, where the shapes prove it or leave a few ways open: channels first against last (three to
five axes), time first against batch first, axes of size one more or less, and images or sequences
flattened in either order. Where several ways fit, the values decide: the way with the largest
correlation on the first batch is taken, and said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gate.core.tensors import Array

Shape = tuple[int, ...]
CORRELATION_ELEMENTS = 1 << 20
"""Elements that are looked at to choose between layouts; more add nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """``y.reshape(split).transpose(order).reshape(shape of x)``; the batch axis is kept throughout
    where ``split`` is given."""

    name: str
    """For people."""
    order: Shape
    split: Shape | None = None
    """Axes of y before they are moved, without the batch; None: as they are."""
    joins: bool = False
    """True where the shape still changes after the axes were moved."""

    def apply(self, y: Array, shape: Shape) -> Array:
        """``y`` as the reference has it, whose shape for this batch is ``shape``."""
        if self.split is not None:
            y = y.reshape(y.shape[0], *self.split)
        moved = y.transpose(self.order)
        return moved.reshape(shape) if self.joins else moved

    def back(self, x: Array, shape: Shape) -> Array:
        """``x`` as the candidate has it; ``shape`` is the candidate's, the batch axis of any size."""
        before = shape if self.split is None else (shape[0], *self.split)
        if self.joins:
            sizes = [before[axis] for axis in self.order]
            x = x.reshape(-1, *sizes[1:])
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        moved = x.transpose(inverse)
        return moved if self.split is None else moved.reshape(moved.shape[0], *shape[1:])


def layouts(x: Shape, y: Shape) -> tuple[Layout, ...]:
    """Every way in which a tensor of shape ``y`` can be one of shape ``x``; empty where none is.

    Equal shapes are the same layout: whether one of them was transposed nobody can see. Where
    images agree in axis 1, the number of channels, and differ after it, nothing is assumed either.
    """
    rank = len(x)
    if x == y:
        return (Layout(name="as it is", order=tuple(range(rank))),)
    if math.prod(x) != math.prod(y) or not x or not y:
        return ()
    if rank == len(y):
        return tuple(_moved(x, y))
    return tuple(_reshaped(x, y))


def choose(x: Array, y: Array) -> tuple[Layout | None, str]:
    """The layout of ``y`` beside ``x``, and what to say about the choice (empty: it was proven)."""
    open_ways = layouts(x.shape, y.shape)
    if len(open_ways) <= 1:
        return (open_ways[0] if open_ways else None), ""
    best = max(open_ways, key=lambda way: _correlation(x, way.apply(y, x.shape)))
    others = ", ".join(way.name for way in open_ways if way is not best)
    return best, f"taken as {best.name} (the shapes also allow {others}): that correlates best"


def _moved(x: Shape, y: Shape) -> Iterator[Layout]:
    rank = len(x)
    if 3 <= rank <= 5 and x[1] != y[1]:
        for name, order in (
            ("channels last", (0, rank - 1, *range(1, rank - 1))),
            ("channels first", (0, *range(2, rank), 1)),
        ):
            if tuple(y[axis] for axis in order) == x and (rank > 3 or name == "channels last"):
                yield Layout(name=name, order=order)
    if rank == 3 and (y[1], y[0], y[2]) == x:
        yield Layout(name="time and batch exchanged", order=(1, 0, 2))
    if x[0] == y[0] and [n for n in x if n != 1] == [n for n in y if n != 1]:
        yield Layout(name="axes of size one moved", order=tuple(range(rank)), joins=True)


def _reshaped(x: Shape, y: Shape) -> Iterator[Layout]:
    plain = Layout(name="flattened in order", order=tuple(range(len(y))), joins=True)
    if x[0] != y[0]:
        if x[-1] == y[-1]:  # rows of a matrix product, batch and steps joined or not
            yield plain
        return
    yield plain
    longer = y if len(y) > len(x) else x
    spatial = [n for n in longer[1:] if n != 1]
    if len(longer) < 3 or len(spatial) < 2 or min(len(x), len(y)) != 2:
        return  # one axis alone has no order
    rank = len(longer)
    if longer is y:
        # The reference flattened channels first: put the candidate's channels there.
        order = (0, rank - 1, *range(1, rank - 1))
        yield Layout(name="channels last before it was flattened", order=order, joins=True)
    else:
        split = (*x[2:], x[1])
        order = (0, rank - 1, *range(1, rank - 1))
        yield Layout(name="flattened with channels last", order=order, split=split)


def _correlation(x: Array, y: Array) -> float:
    import numpy as np

    rows = max(1, CORRELATION_ELEMENTS // max(1, math.prod(x.shape[1:])))
    a, b = (part[:rows].astype(np.float64).ravel() for part in (x, y))
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if not a.size:
        return -1.0
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0.0 else -1.0
