"""Memory of a LiteRT graph's activations: the most that is alive at one operator."""

from __future__ import annotations

from math import ceil, prod

from gate.backends import _litert_ops as ops
from gate.backends._litert_layers import Layers
from gate.models.tflite_graph import Tensor


def activation_bytes(layers: Layers) -> int:
    """Largest sum, over the operators, of the tensors alive while it runs, in bytes for one sample.

    A tensor is alive from the operator that writes it (inputs of the graph: from the start) to the
    last that reads it (outputs: to the end). Constants and states do not count. This is the least
    that a runtime's arena can be that computes layer by layer and overwrites nothing in place; on a
    microcontroller, what has to fit beside the weights.
    """
    graph = layers.graph
    born = dict.fromkeys(graph.inputs, 0)
    dies: dict[int, int] = {}
    for place, op in enumerate(graph.operators):
        for tensor in op.outputs:
            born.setdefault(tensor, place)
        for tensor in (*op.inputs, *op.outputs):
            dies[tensor] = place
    dies |= dict.fromkeys(graph.outputs, len(graph.operators) - 1)
    counted = [
        (first, dies.get(tensor, first), _bytes(graph.tensors[tensor]))
        for tensor, first in born.items()
        if layers.root(tensor) is None and tensor not in layers.shape_arithmetic
    ]
    return max(
        sum(size for first, last, size in counted if first <= place <= last)
        for place in range(len(graph.operators))
    )


def _bytes(tensor: Tensor) -> int:
    import numpy as np

    bits = ops.BITS.get(tensor.dtype) or 8 * np.dtype(tensor.dtype).itemsize
    return ceil(prod(tensor.shape) * bits / 8)
