"""Weights whose scales hold for blocks of elements: ``MatMulNBits``, and ``DequantizeLinear`` by block.

``MatMulNBits`` keeps a weight of K x N elements as bytes of shape [N, blocks, bytes a block], lowest bits
first, with a scale for each block of a column and, where it is not symmetric, as many packed zero points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Stored
from gate.backends._onnx_graph import Graph, Node
from gate.core.layer import QParams
from gate.core.tensors import Array

INTEGER_ACCURACY = 4
"""Value of the attribute ``accuracy_level`` at which the kernel takes activations to int8 and
multiplies integers; below it the weights are dequantized and the product is in floating point."""


def packed(node: Node) -> bool:
    """True where the node's weight is packed bytes, whose shape is not that of the weight."""
    return node.op in ops.PACKED


def shape(node: Node) -> tuple[int, int]:
    """Rows (input features) and columns of a packed weight."""
    return int(node.attributes["K"]), int(node.attributes["N"])


def dtype(node: Node) -> str:
    """Element type of a packed weight: ``uint4`` ..."""
    return f"uint{int(node.attributes.get('bits', 4))}"


def in_integers(node: Node) -> bool:
    """Whether the kernel multiplies integers."""
    return int(node.attributes.get("accuracy_level", 0)) == INTEGER_ACCURACY


def packed_qparams(node: Node, stored: Stored, graph: Graph) -> QParams | None:
    """Parameters of a packed weight, one a column; None where they are no constants."""
    scales = graph.value(stored.scale)
    if scales is None:
        return None
    bits = int(node.attributes.get("bits", 4))
    columns = shape(node)[1]
    by_block = scales.reshape(columns, -1).astype("float64")
    zero_points = None
    if stored.zero_point is not None:
        raw = graph.value(stored.zero_point)
        if raw is None:
            return None
        if raw.dtype.kind == "f":
            raw = raw.clip(0, (1 << bits) - 1)  # real numbers, which need not be codes
        zero_points = _unpacked(raw.reshape(columns, -1), bits)[:, : by_block.shape[1]]
    return _summary(
        by_block,
        zero_points,
        dtype=f"uint{bits}",
        middle=1 << (bits - 1),
        block=int(node.attributes["block_size"]),
        axis=1,
    )


def blocked_qparams(
    stored: Stored, dims: tuple[int, ...], kind: str, graph: Graph
) -> QParams | None:
    """Parameters of a weight that ``DequantizeLinear`` takes by block, one a channel.

    None for more than two axes, where blocks belong to no one channel.
    """
    scales = graph.value(stored.scale)
    if scales is None or len(dims) != 2 or scales.ndim != 2 or stored.axis is None:
        return None
    along = stored.axis % 2
    zero_points = graph.value(stored.zero_point) if stored.zero_point is not None else None
    ordered = [
        part if part is None else _channels_first(part, along) for part in (scales, zero_points)
    ]
    assert ordered[0] is not None  # noqa: S101 - for the type checker: scales are there
    return _summary(
        ordered[0].astype("float64"),
        None if ordered[1] is None else ordered[1].astype("int64"),
        dtype=kind,
        middle=1 << (int(kind[4:]) - 1) if kind.startswith("uint") else 0,
        block=-(-dims[along] // scales.shape[along]),
        axis=1 - along,
    )


def runtime_nodes(graph: Graph) -> Mapping[str, Node]:
    """Nodes of the graph that the runtime made, by the name that they have in the file.

    A fusion of a product with the addition after it keeps the product's name before a suffix.
    """
    found: dict[str, Node] = {}
    for node in graph.nodes:
        found.setdefault(node.name.removeprefix("fused ").removesuffix("/MatMulAddFusion"), node)
    found.update((node.name, node) for node in graph.nodes)
    return found


def _channels_first(value: Array, along: int) -> Array:
    return value if along == 1 else value.T


def _unpacked(value: Array, bits: int) -> Array:
    """Stored integers of bytes, lowest bits first, along the last axis."""
    import numpy as np

    if value.dtype != np.uint8:
        return value  # zero points in the type of the scales: real numbers, not packed
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    apart = (value[..., None] >> shifts) & ((1 << bits) - 1)
    return np.asarray(apart.reshape(*value.shape[:-1], -1).astype(np.int64))


def _summary(
    scales: Array, zero_points: Array | None, *, dtype: str, middle: int, block: int, axis: int
) -> QParams:
    """One scale and zero point a channel out of (channel, block): those of the block with the largest
    scale, or of the first block whose scale is not finite.

    Scales have a sign where the kernel gives the largest weight of a block the one code that has no
    counterpart, and are zero where all weights of a block are.
    """
    import numpy as np

    bad = ~np.isfinite(scales)
    size = np.where(bad, np.inf, np.abs(scales))
    chosen = size.argmax(axis=1)
    rows = np.arange(len(scales))
    points: Any = np.full(len(scales), middle)
    symmetric = zero_points is None or bool((zero_points == middle).all())
    if zero_points is not None:
        points = np.rint(zero_points[rows, chosen])
    return QParams(
        dtype=dtype,
        scheme=f"per-block-{block}-{'symmetric' if symmetric else 'affine'}",
        axis=axis,
        scales=tuple(float(value) for value in scales[rows, chosen]),
        zero_points=tuple(int(value) for value in points),
        channels=len(scales),
    )
