"""Quantize and dequantize calls of exported graphs (PT2E).

Such a graph is written in floating point: integers stand only between a quantize and a dequantize call
(``quantized_decomposed``), and a compiler takes a layer between dequantize and quantize calls to an
integer kernel. These calls are no layers; what they say belongs to the layers beside them.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from gate.core.layer import QParams
from gate.models.torch_runtime import quiet_torch_ao

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

NAMESPACE = "quantized_decomposed"
_DTYPE_PLACE = {"per_tensor": 5, "per_channel": 6}


def is_boundary(node: Node) -> bool:
    """True for a call of ``quantized_decomposed``."""
    return node.op == "call_function" and getattr(node.target, "namespace", "") == NAMESPACE


def is_dequantize(node: Node) -> bool:
    """True for a call that turns integers into the numbers that they stand for."""
    return is_boundary(node) and _name(node).startswith("dequantize")


def constant_weight(graph: GraphModule, node: Node) -> Tensor | None:
    """The weight that a dequantize call reads, as one of torch's own quantized tensors; None where
    it reads no constant."""
    import torch

    source = node.args[0] if is_dequantize(node) and node.args else None
    if getattr(source, "op", "") != "get_attr":
        return None
    values = _constant(graph, source)
    scales, zero_points = (_constant(graph, value) for value in node.args[1:3])
    with quiet_torch_ao():
        if "per_channel" not in _name(node):
            return torch._make_per_tensor_quantized_tensor(values, float(scales), int(zero_points))
        if zero_points is None:
            zero_points = torch.zeros(len(scales), dtype=torch.int64)
        return torch._make_per_channel_quantized_tensor(
            values, scales.double(), zero_points.long(), _number(node.args[3])
        )


def entering_type(node: Node) -> str | None:
    """Type of the integers behind a dequantize call; None for any other node."""
    return _stored_type(node) if is_dequantize(node) else None


def leaving_qparams(node: Node) -> QParams | None:
    """How the output of a layer is quantized, where all that read it take it in the same integers."""
    users = list(node.users)
    if not users or not all(is_boundary(user) and not is_dequantize(user) for user in users):
        return None
    found = {user.args[1:3] for user in users}
    scale, zero_point = next(iter(found))
    if len(found) > 1 or not isinstance(scale, float) or not isinstance(zero_point, int):
        return None
    dtype = _stored_type(users[0])
    symmetric = not dtype.startswith("u") and not zero_point
    return QParams(
        dtype=dtype,
        scheme=f"per-tensor-{'symmetric' if symmetric else 'affine'}",
        axis=None,
        scales=(scale,),
        zero_points=(zero_point,),
    )


def _name(node: Node) -> str:
    return str(node.target._schema.name).rsplit("::", 1)[-1]  # type: ignore[union-attr]


def _stored_type(node: Node) -> str:
    place = next(place for kind, place in _DTYPE_PLACE.items() if kind in _name(node))
    return str(node.args[place]).removeprefix("torch.")


def _number(value: Any) -> int:
    return int(value)


def _constant(graph: GraphModule, value: Any) -> Any:
    """A constant of the graph, or an argument that is written out."""
    if getattr(value, "op", "") == "get_attr":
        return operator.attrgetter(str(value.target))(graph)
    return value
