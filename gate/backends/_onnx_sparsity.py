"""The 2:4 pattern in the weights of ONNX nodes."""

from __future__ import annotations

from gate.backends import _onnx_blocks as blocks
from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Folded, Stored
from gate.backends._onnx_graph import Graph, Node
from gate.core.tensors import Array

GROUP, ZEROS = 4, 2


def groups_of_four(layer: Folded, graph: Graph) -> tuple[int, int]:
    """Groups of four consecutive input channels in the constant weights of a layer, and those with
    two zeros or more. Weights whose input channels are no multiple of four have none, nor have packed
    ones."""
    total = sparse = 0
    if blocks.packed(layer.node):
        return total, sparse
    for weight in layer.weights:
        zeros = _zeros(weight, graph)
        axis = _input_axis(layer.node, zeros.ndim) if zeros is not None else None
        if zeros is None or axis is None or zeros.shape[axis] % GROUP:
            continue
        groups = zeros.swapaxes(axis, -1).reshape(-1, GROUP).sum(axis=1)
        total += len(groups)
        sparse += int((groups >= ZEROS).sum())
    return total, sparse


def _zeros(weight: Stored | str, graph: Graph) -> Array | None:
    """True where an element stands for zero; None where that cannot be told."""
    if isinstance(weight, str):
        value = graph.value(weight)
        return None if value is None else value == 0
    value = graph.value(weight.tensor)
    if value is None or weight.zero_point is None:
        return None if value is None else value == 0
    zero_point = graph.value(weight.zero_point)
    if zero_point is None or zero_point.ndim > 1:
        return None
    if zero_point.size > 1 and weight.axis is not None:
        shape = [1] * value.ndim
        shape[weight.axis] = zero_point.size
        zero_point = zero_point.reshape(shape)
    zeros: Array = value == zero_point
    return zeros


def _input_axis(node: Node, rank: int) -> int | None:
    """Axis of the input channels in a weight of ``rank`` axes; None where there is no one answer."""
    if rank < 2:
        return None
    integer = ops.INTEGER_OPS.get(node.op)
    match integer.stands_for if integer else node.op:
        case "Conv" | "FusedConv":
            return 1
        case "ConvTranspose":
            return 0
        case "Gemm" | "FusedGemm":
            return 1 if node.attributes.get("transB", 0) else 0
        case "MatMul" | "FusedMatMul":
            return rank - 2
    return None
