"""Layer rows out of folded layers: shapes, quantization parameters, parameters, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from gate.backends import _onnx_blocks as blocks
from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Folded, Stored
from gate.backends._onnx_follow import Identity
from gate.backends._onnx_graph import Graph, Node
from gate.backends._onnx_sparsity import Groups, groups_of_four
from gate.core.layer import LayerRow, QParams, TensorInfo

_SMALL = frozenset({"int8", "uint8", "int4", "uint4", "int2", "uint2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rows of one graph are written from."""

    graph: Graph
    infos: Mapping[str, TensorInfo]
    """Of every tensor that :func:`wanted` names, for the batch that was asked about."""
    runtime: Mapping[str, Node]
    """Node name -> the node in the graph that the runtime made of the file."""
    batch: int


def wanted(layers: Sequence[Folded], graph: Graph) -> list[str]:
    """Tensors whose shape and type the rows need, without doubles."""
    names: dict[str, None] = {}
    for layer in layers:
        names.update(dict.fromkeys((*layer.inputs, *layer.outputs)))
        for weight in layer.weights:
            tensor = weight.tensor if isinstance(weight, Stored) else weight
            if not graph.is_constant(tensor):
                names[tensor] = None
    return list(names)


def row(layer: Folded, identity: Identity, facts: Facts) -> LayerRow:
    """Describe one layer."""
    node, graph = layer.node, facts.graph
    computing = ops.computes(node.op) or node.hides_compute
    op, quantized = _kernel(layer, facts) if computing else (node.op, layer.quantized)
    sizes = [_size(node, weight, facts) for weight in layer.weights]
    small = [
        size
        for size, weight in zip(sizes, layer.weights, strict=True)
        if _weight_type(node, weight, facts) in _SMALL
    ]
    half = [
        size
        for size, weight in zip(sizes, layer.weights, strict=True)
        if _weight_type(node, weight, facts) in ops.HALF
    ]
    weights = [weight for weight in layer.weights if isinstance(weight, Stored)]
    groups = groups_of_four(layer, graph) if computing else Groups()
    return LayerRow(
        name=identity.name,
        op=op,
        computes=computing,
        quantized=quantized,
        inputs=tuple(facts.infos[name] for name in layer.inputs),
        outputs=tuple(facts.infos[name] for name in layer.outputs),
        weight=_weight_qparams(node, weights[0], facts) if weights else None,
        output=_qparams(layer.stored, facts) if layer.stored is not None else None,
        params=sum(sizes),
        params_quantized=sum(small),
        params_half=sum(half),
        macs=_macs(layer, facts, sizes) if ops.computes(node.op) else 0,
        covers=identity.covers,
        groups_of_four=groups.total,
        groups_sparse=groups.sparse,
        groups_unknown=groups.unknown,
        capture=layer.outputs[0] if graph.producer.get(layer.outputs[0]) else None,
    )


def _kernel(layer: Folded, facts: Facts) -> tuple[str, bool]:
    """Operator and whether it works on integers. What counts is the kernel: a QDQ group that the
    runtime did not fuse runs in floating point, and one around a weight alone may become a kernel
    that takes the activations to integers by itself."""
    node = layer.node
    made = facts.runtime.get(node.name)
    if made is not None and blocks.packed(made):
        return made.op, blocks.in_integers(made)
    if made is None or not layer.quantized:
        return node.op, layer.quantized and not blocks.packed(node)
    quantized = made.op in ops.INTEGER_OPS
    return (made.op if quantized else node.op), quantized


def channel_parameters(stored: Stored, graph: Graph) -> tuple[list[float], list[int]] | None:
    """Scales and zero points, one or one a channel; None where they are found at run time."""
    scale = graph.value(stored.scale)
    if scale is None:
        return None
    scales = [float(value) for value in scale.reshape(-1)]
    if stored.zero_point is None:
        return scales, [0] * len(scales)
    zero_point = graph.value(stored.zero_point)
    if zero_point is None:
        return None
    return scales, [int(value) for value in zero_point.reshape(-1)]


def _weight_qparams(node: Node, stored: Stored, facts: Facts) -> QParams | None:
    graph = facts.graph
    if blocks.packed(node):
        found = blocks.packed_qparams(node, stored, graph)
    elif _by_block(stored, facts):
        kind = _stored_type(stored, facts)
        found = blocks.blocked_qparams(stored, _shape(stored.tensor, facts), kind, graph)
    else:
        found = _both_ways(node, stored, _qparams(stored, facts), facts)
    if found is None:
        return None
    rank = 2 if blocks.packed(node) else len(_shape(stored.tensor, facts))
    return replace(found, output_axis=_output_axis(node, rank))


def _both_ways(node: Node, stored: Stored, found: QParams | None, facts: Facts) -> QParams | None:
    """The weight of an LSTM that reads both ways, (directions, inputs, gates), has a scale for each
    direction, or for each gate of each."""
    integer = ops.INTEGER_OPS.get(node.op)
    directions, *_, gates = _shape(stored.tensor, facts)
    if found is None or integer is None or integer.stands_for != "LSTM" or directions == 1:
        return found
    if len(facts.graph.dims(stored.scale)) == 1:
        return replace(found, axis=0, channels=directions)
    return replace(found, channels=directions * gates)


def _output_axis(node: Node, rank: int) -> int | None:
    """Axis of the output channels in the weight of a node; None where there is no one answer."""
    integer = ops.INTEGER_OPS.get(node.op)
    match integer.stands_for if integer else node.op:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1
        case "Gemm":
            return 0 if node.attributes.get("transB", 0) else rank - 1
        case "MatMul":
            return rank - 1
    return None


def _qparams(stored: Stored, facts: Facts) -> QParams | None:
    """None for parameters found at run time, and for those given by block."""
    graph = facts.graph
    parameters = channel_parameters(stored, graph)
    shape = _shape(stored.tensor, facts)
    if parameters is None:
        return None
    if _by_block(stored, facts):
        return None
    scales, zero_points = parameters
    dtype = _stored_type(stored, facts)
    per_channel = len(scales) > 1
    axis = None
    if per_channel and stored.axis is not None:
        axis = stored.axis % max(len(shape), 1)
    middle = 1 << (int(dtype[4:]) - 1) if dtype.startswith("uint") else 0
    symmetric = all(value == middle for value in zero_points)
    return QParams(
        dtype=dtype,
        scheme=f"per-{'channel' if per_channel else 'tensor'}-{'symmetric' if symmetric else 'affine'}",
        axis=axis,
        scales=tuple(scales),
        zero_points=tuple(zero_points),
        channels=shape[axis] if axis is not None and axis < len(shape) else None,
    )


def _by_block(stored: Stored, facts: Facts) -> bool:
    """Whether a scale holds for a block along an axis."""
    if not facts.graph.is_constant(stored.scale):
        return False
    rank = len(facts.graph.dims(stored.scale))
    return rank > 1 and rank == len(_shape(stored.tensor, facts))


def _weight_type(node: Node, weight: Stored | str, facts: Facts) -> str:
    if isinstance(weight, Stored):
        return blocks.dtype(node) if blocks.packed(node) else _stored_type(weight, facts)
    return _dtype(weight, facts)


def _stored_type(stored: Stored, facts: Facts) -> str:
    graph = facts.graph
    if stored.zero_point is not None and graph.is_constant(stored.zero_point):
        return graph.dtype(stored.zero_point)
    return _dtype(stored.tensor, facts)


def _dtype(tensor: str, facts: Facts) -> str:
    graph = facts.graph
    return graph.dtype(tensor) if graph.is_constant(tensor) else facts.infos[tensor].dtype


def _shape(tensor: str, facts: Facts) -> tuple[int, ...]:
    graph = facts.graph
    return graph.dims(tensor) if graph.is_constant(tensor) else facts.infos[tensor].shape


def _size(node: Node, weight: Stored | str, facts: Facts) -> int:
    if isinstance(weight, Stored) and blocks.packed(node):
        return prod(blocks.shape(node))
    return prod(_shape(weight.tensor if isinstance(weight, Stored) else weight, facts))


def _macs(layer: Folded, facts: Facts, sizes: Sequence[int]) -> int:
    """Multiply-accumulates for one sample."""
    integer = ops.INTEGER_OPS.get(layer.node.op)
    op = integer.stands_for if integer else layer.node.op
    first, out = facts.infos[layer.inputs[0]].shape, facts.infos[layer.outputs[0]].shape
    batch = max(facts.batch, 1)
    if op in ("LSTM", "GRU", "RNN"):
        # Steps and batch change places with the layout; the features stay last.
        return prod(first[:-1]) // batch * sum(sizes)
    if op in ("Conv", "FusedConv", "ConvTranspose") and layer.weights:
        weight = layer.weights[0]
        shape = _shape(weight.tensor if isinstance(weight, Stored) else weight, facts)
        elements = first if op == "ConvTranspose" else out
        return prod(elements) // batch * (sizes[0] // shape[0])
    if op in ("Gemm", "MatMul", "FusedGemm", "FusedMatMul"):
        inner = first[0] if layer.node.attributes.get("transA") else first[-1]
        return prod(out) // batch * inner
    return 0
