"""A few numbers by which two recordings of a long output are told apart, and how far apart they are.

A count sketch (Charikar, Chen and Farach-Colton 2002) with fixed signs: every element is multiplied by
a sign that depends only on its sample and place, and added to one of ``SIZE`` sums. The squared
distance of two sketches estimates the squared distance of the outputs without bias, with a relative
standard deviation of sqrt(2 / SIZE), so a change in the last digits is told from a change of the
function without keeping the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gate.core.tensors import Array

SIZE = 32
_WORD = 64


class Sketch:
    """Adds up one output over the samples, in order, whatever the batches."""

    def __init__(self) -> None:
        self._sums = np.zeros(SIZE)
        self._samples = 0

    def add(self, values: Array) -> None:
        """Add a batch, shape (samples, ...); elements that are not finite count as zero."""
        rows = values.reshape(len(values), -1).astype(np.float64)
        rows[~np.isfinite(rows)] = 0.0
        elements = rows.shape[1]
        padded = np.zeros(-(-elements // SIZE) * SIZE)
        for row in rows:
            padded[:elements] = row * _signs(self._samples, elements)
            self._sums += padded.reshape(-1, SIZE).sum(axis=0)
            self._samples += 1

    def result(self) -> tuple[float, ...]:
        """The sums, ``SIZE`` of them."""
        return tuple(float(value) for value in self._sums)


def relative_change(now: Sequence[float], then: Sequence[float]) -> float:
    """Estimate of ``||x_now - x_then|| / ||x_then||``; infinite beside an output that was zero.

    Raises:
        ValueError: the sketches have different sizes.

    >>> relative_change([3.0, 4.1], [3.0, 4.0]) < 0.03
    True
    """
    distance = math.dist(now, then)
    if distance == 0.0:
        return 0.0
    norm = math.hypot(*then)
    return distance / norm if norm > 0.0 else math.inf


def _signs(sample: int, count: int) -> Array:
    """+1 or -1 for each element; the bits of a generator whose stream never changes."""
    words = np.random.Philox(key=sample).random_raw(-(-count // _WORD))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=count)
    return bits.astype(np.float64) * 2.0 - 1.0
