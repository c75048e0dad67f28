"""The 2:4 pattern in the weights of ONNX nodes."""

from __future__ import annotations

from dataclasses import dataclass

from gate.backends import _onnx_blocks as blocks
from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Folded, Stored
from gate.backends._onnx_graph import Graph, Node
from gate.core.tensors import Array

GROUP, ZEROS = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of four consecutive input channels, and those with two zeros or more."""

    total: int = 0
    sparse: int = 0
    unknown: str = ""
    """Why they cannot be told; empty where they can."""


def groups_of_four(layer: Folded, graph: Graph) -> Groups:
    """Groups in the constant weights of a computing layer; none in weights whose input channels are
    no multiple of four."""
    node = layer.node
    if node.hides_compute:
        return Groups(unknown=f"what {node.op} computes with is hidden inside of it")
    if blocks.packed(node):
        if blocks.shape(node)[0] % GROUP:
            return Groups()
        return Groups(unknown=f"{node.op} holds its weights as packed bytes")
    total = sparse = 0
    for weight in layer.weights:
        zeros = _zeros(weight, graph)
        if zeros is None:
            name = weight if isinstance(weight, str) else weight.tensor
            return Groups(unknown=f"the weight {name} or its zero point is no constant of the file")
        axis = _input_axis(node, zeros.ndim)
        if axis is None:
            return Groups(unknown=f"the input channels of {node.op}'s weights are on no known axis")
        if zeros.shape[axis] % GROUP:
            continue
        groups = zeros.swapaxes(axis, -1).reshape(-1, GROUP).sum(axis=1)
        total += len(groups)
        sparse += int((groups >= ZEROS).sum())
    return Groups(total=total, sparse=sparse)


def _zeros(weight: Stored | str, graph: Graph) -> Array | None:
    """True where an element stands for zero; None where that cannot be told."""
    if isinstance(weight, str):
        value = graph.value(weight)
        return None if value is None else value == 0
    value = graph.value(weight.tensor)
    if value is None or weight.zero_point is None:
        return None if value is None else value == 0
    zero_point = graph.value(weight.zero_point)
    if zero_point is None:
        return None
    if zero_point.size and (zero_point == zero_point.flat[0]).all():
        zero_point = zero_point.flat[0]  # one for all, also of weights with a scale a block
    elif zero_point.ndim > 1 or weight.axis is None:
        return None
    else:
        shape = [1] * value.ndim
        shape[weight.axis] = zero_point.size
        zero_point = zero_point.reshape(shape)
    zeros: Array = value == zero_point
    return zeros


def _input_axis(node: Node, rank: int) -> int | None:
    """Axis of the input channels in a weight of ``rank`` axes; None where there is no one answer."""
    integer = ops.INTEGER_OPS.get(node.op)
    op = integer.stands_for if integer else node.op
    if rank < 2:
        return 0 if rank == 1 and op == "MatMul" else None
    match op:
        case "Conv" | "FusedConv":
            return 1
        case "ConvTranspose":
            return 0
        case "Gemm" | "FusedGemm":
            return 1 if node.attributes.get("transB", 0) else 0
        case "MatMul" | "FusedMatMul":
            return rank - 2
    return None
