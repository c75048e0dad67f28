"""Floating-point weights that a quantized file holds and has no use for, or beside their stored copies.

What a quantizer leaves behind costs the memory that it was to save, and no result shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gate.core.layer import KeptFloat
from gate.core.tensors import Array

SMALLEST = 64
"""Elements of the smallest tensor that is looked at: scales and biases are no weights."""
_FIRST = 4096  # elements compared before all of them are
_WITHIN = 0.999
"""Share of the elements within half a step of their stored copies; clipped ranges cut the rest."""


@runtime_checkable
class TellingSession(Protocol):
    """A session that can tell what its file holds beside what it computes with."""

    def kept_float(self) -> tuple[KeptFloat, ...] | None:
        """Weights in floating point that nothing reads, or that a stored copy stands for; None where
        that cannot be told."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatTensor:
    """A tensor in floating point of at least two axes."""

    name: str
    shape: tuple[int, ...]
    size_bytes: int
    value: Callable[[], Array]
    unread: bool = False
    """Whether nothing computes with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A weight stored in integers."""

    name: str
    shape: tuple[int, ...]
    value: Callable[[], tuple[Array, Array]]
    """Its real values, and the step between two of them, which broadcasts against it."""


def kept_float(
    floats: Iterable[FloatTensor], stored: Sequence[StoredTensor]
) -> Iterator[KeptFloat]:
    """Those of ``floats`` that nothing reads, or that equal one of ``stored`` as nearly as storage can."""
    for tensor in floats:
        if _elements(tensor.shape) < SMALLEST:
            continue
        twin = next((one.name for one in stored if _same(tensor, one)), "")
        if tensor.unread or twin:
            yield KeptFloat(
                name=tensor.name, size_bytes=tensor.size_bytes, stored=twin, unread=tensor.unread
            )


def _elements(shape: tuple[int, ...]) -> int:
    from math import prod

    return prod(shape)


def _same(tensor: FloatTensor, stored: StoredTensor) -> bool:
    import numpy as np

    turned = tensor.shape[::-1] == stored.shape and len(tensor.shape) == 2
    if tensor.shape != stored.shape and not turned:
        return False
    real, step = stored.value()
    value = tensor.value().astype(np.float32)
    room = np.broadcast_to(0.5 * step, real.shape) + 1e-6 * np.abs(real)
    options = [value] if tensor.shape == stored.shape else []
    return any(_near(one, real, room) for one in [*options, *([value.T] if turned else [])])


def _near(value: Array, real: Array, room: Array) -> bool:
    import numpy as np

    flat = [np.ravel(part) for part in (value, real, room)]
    for size in (_FIRST, None):
        x, y, limit = (part[:size] for part in flat)
        if float(np.mean(np.abs(x - y) <= 1.01 * limit)) < _WITHIN:
            return False
    return True
