"""Floating-point weights that a quantized LiteRT file keeps: see :mod:`gate.backends.kept_float`."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from gate.backends.kept_float import FloatTensor, StoredTensor, kept_float
from gate.core.layer import KeptFloat
from gate.core.tensors import Array
from gate.models.tflite_graph import Tensor, TfliteGraph

_BYTES = {"float32": 4, "float16": 2, "float64": 8}
_WHOLE = frozenset({"int8", "uint8", "int16"})
"""Stored one element a number; narrower ones are packed, and compared with nothing."""


def kept(graph: TfliteGraph) -> tuple[KeptFloat, ...]:
    """Constants in floating point, of two axes or more, that the main graph does not need."""
    return tuple(kept_float(_floats(graph), list(_stored(graph))))


def _floats(graph: TfliteGraph) -> Iterator[FloatTensor]:
    read = {index for op in graph.operators for index in op.inputs} | set(graph.outputs)
    for tensor in graph.tensors:
        size = _BYTES.get(tensor.dtype)
        if size is None or len(tensor.shape) < 2 or not _holds(graph, tensor, size):
            continue

        def value(tensor: Tensor = tensor) -> Array:
            return _numbers(graph, tensor)

        yield FloatTensor(
            name=tensor.name,
            shape=tensor.shape,
            size_bytes=tensor.buffer_bytes,
            value=value,
            unread=tensor.index not in read,
        )


def _stored(graph: TfliteGraph) -> Iterator[StoredTensor]:
    import numpy as np

    for tensor in graph.tensors:
        if not tensor.quantized or tensor.dtype not in _WHOLE or len(tensor.shape) < 2:
            continue
        if not _holds(graph, tensor, np.dtype(tensor.dtype).itemsize):
            continue

        def value(tensor: Tensor = tensor) -> tuple[Array, Array]:
            return _real(graph, tensor)

        yield StoredTensor(name=tensor.name, shape=tensor.shape, value=value)


def _holds(graph: TfliteGraph, tensor: Tensor, size: int) -> bool:
    """Whether it is a constant whose bytes are all of its elements (sparse ones have fewer)."""
    held = graph.value(tensor.index) if tensor.constant else None
    return held is not None and tensor.buffer_bytes == size * prod(tensor.shape)


def _numbers(graph: TfliteGraph, tensor: Tensor) -> Array:
    import numpy as np

    held = graph.value(tensor.index)
    assert held is not None  # noqa: S101 - for the type checker: it was asked for before
    return np.asarray(held, dtype=np.uint8).view(tensor.dtype).reshape(tensor.shape)


def _real(graph: TfliteGraph, tensor: Tensor) -> tuple[Array, Array]:
    import numpy as np

    step, offset = (np.asarray(x, np.float32) for x in (tensor.scales, tensor.zero_points))
    shape = [1] * len(tensor.shape)
    if tensor.axis is not None and step.size > 1:
        shape[tensor.axis] = step.size
    step = step.reshape(shape)
    offset = offset.reshape(shape if offset.size == step.size else [1] * len(shape))
    return (_numbers(graph, tensor).astype(np.float32) - offset) * step, step
