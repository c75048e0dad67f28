"""Floating-point weights that a quantized ONNX file keeps: see :mod:`gate.backends.kept_float`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gate.backends import _onnx_blocks as blocks
from gate.backends._onnx_fold import Folded, Stored
from gate.backends._onnx_graph import Graph
from gate.backends.kept_float import FloatTensor, StoredTensor, kept_float
from gate.core.layer import KeptFloat
from gate.core.tensors import Array

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}


def kept(graph: Graph, layers: Iterable[Folded]) -> tuple[KeptFloat, ...]:
    """Constants in floating point, of two axes or more, that the graph does not need."""
    return tuple(kept_float(_floats(graph), list(_stored(graph, layers))))


def _floats(graph: Graph) -> Iterator[FloatTensor]:
    for name in graph.constants:
        dims, size = graph.dims(name), _BYTES.get(graph.dtype(name))
        if size is None or len(dims) < 2:
            continue

        def value(name: str = name) -> Array:
            found = graph.value(name)
            assert found is not None  # noqa: S101 - for the type checker: it is a constant
            return found

        elements = 1
        for length in dims:
            elements *= length
        yield FloatTensor(
            name=name,
            shape=dims,
            size_bytes=elements * size,
            value=value,
            unread=name not in graph.consumers and name not in graph.outputs,
        )


def _stored(graph: Graph, layers: Iterable[Folded]) -> Iterator[StoredTensor]:
    for layer in layers:
        if blocks.packed(layer.node):
            continue  # of other bits and shape: what nothing reads is found all the same
        for weight in layer.weights:
            if not isinstance(weight, Stored) or not graph.is_constant(weight.tensor):
                continue
            if graph.value(weight.scale) is None or len(graph.dims(weight.scale)) > 1:
                continue

            def value(weight: Stored = weight) -> tuple[Array, Array]:
                return _real(graph, weight)

            yield StoredTensor(name=weight.tensor, shape=graph.dims(weight.tensor), value=value)


def _real(graph: Graph, weight: Stored) -> tuple[Array, Array]:
    import numpy as np

    codes, scale = graph.value(weight.tensor), graph.value(weight.scale)
    assert codes is not None  # noqa: S101 - for the type checker: both were asked for before
    assert scale is not None  # noqa: S101 - as above
    zero_point = graph.value(weight.zero_point) if weight.zero_point is not None else None
    shape = [1] * codes.ndim
    if scale.size > 1 and weight.axis is not None:
        shape[weight.axis] = scale.size
    step = scale.astype(np.float32).reshape(shape if scale.size > 1 else ())
    middle = np.float32(0) if zero_point is None else zero_point.astype(np.float32)
    offset = middle.reshape(shape if middle.size > 1 else ())
    return (codes.astype(np.float32) - offset) * step, step
