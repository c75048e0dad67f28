"""Faults that sit in one layer of an ONNX candidate, static (QDQ) or dynamic; each may be planted in any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

_WEIGHTED = {"Conv", "ConvInteger", "DynamicQuantizeLSTM", "Gemm", "MatMul", "MatMulInteger"}


class NotHereError(Exception):
    """The layer has no place for the fault."""


def weighted(model: ModelProto) -> list[str]:
    """Names of the nodes with weights in integers, in order."""
    return [n.name for n in model.graph.node if n.op_type in _WEIGHTED and _codes(model, n)]


def scale_up(model: ModelProto, node: NodeProto) -> None:
    """Weights dequantized with a scale that is 10 % too large."""
    _change(model, *_scale(model, node), lambda v: v * 1.1)


def scale_of_a_channel(model: ModelProto, node: NodeProto) -> None:
    """One output channel with twice its scale."""
    reader, position, scale = _scale(model, node)
    if scale.size < 2:
        raise NotHereError("one scale for all channels")
    _change(model, reader, position, scale, lambda v: v * np.where(np.arange(v.size) == 1, 2, 1))


def channel_lost(model: ModelProto, node: NodeProto) -> None:
    """All weights of one output channel are zero."""
    _change(model, *_weight(model, node), lambda v: _of_channel(node, v, 0))


def signs_of_a_channel(model: ModelProto, node: NodeProto) -> None:
    """All weights of one output channel with the other sign."""
    _change(model, *_weight(model, node), lambda v: _of_channel(node, v, -1))


def four_bits(model: ModelProto, node: NodeProto) -> None:
    """Weights rounded to 15 levels."""
    _change(model, *_weight(model, node), lambda v: np.rint(v / 18.0) * 18)


def zero_point(model: ModelProto, node: NodeProto) -> None:
    """The layer reads its input with a zero point four beside the one it was written with."""
    reader = _reader(model, node.input[0])

    def moved(v: np.ndarray) -> np.ndarray:
        return v + 4 if int(v.max()) + 4 <= np.iinfo(v.dtype).max else v - 4

    value = _value(model, reader.input[2])
    own = NodeProto()
    own.CopyFrom(reader)  # others may read the tensor as they should
    own.name, own.output[0] = f"{reader.name}_of_{node.name}", f"{node.input[0]}_of_{node.name}"
    model.graph.node.insert(list(model.graph.node).index(reader) + 1, own)
    added = next(n for n in model.graph.node if n.name == own.name)
    _change(model, added, 2, value, moved)
    next(n for n in model.graph.node if n.name == node.name).input[0] = added.output[0]


def range_halved(model: ModelProto, node: NodeProto) -> None:
    """The layer's output is stored with half its scale: what is larger is cut off."""
    writer = next((n for n in model.graph.node if node.output[0] in n.input), None)
    if writer is None or writer.op_type != "QuantizeLinear":
        raise NotHereError("the output is not stored")
    readers = [n for n in model.graph.node if writer.output[0] in n.input]
    value = _value(model, writer.input[1])
    for one in (writer, *readers):
        _change(model, one, 1, value, lambda v: v / 2)


def bias_lost(model: ModelProto, node: NodeProto) -> None:
    """The bias is zero."""
    if len(node.input) < 3 or node.op_type not in ("Conv", "Gemm"):
        raise NotHereError("no bias")
    reader = next((n for n in model.graph.node if node.input[2] in n.output), None)
    holder, position = (node, 2) if reader is None else (reader, 0)
    value = _value(model, holder.input[position])
    if not np.any(value):
        raise NotHereError("a bias of zeros")
    _change(model, holder, position, value, lambda v: v * 0)


FAULTS: tuple[Callable[[ModelProto, NodeProto], None], ...] = (
    scale_up,
    scale_of_a_channel,
    channel_lost,
    signs_of_a_channel,
    four_bits,
    zero_point,
    range_halved,
    bias_lost,
)


def plant(
    model: ModelProto, fault: Callable[[ModelProto, NodeProto], None], layer: str
) -> ModelProto:
    """A copy of ``model`` with the fault in ``layer``.

    Raises:
        NotHereError: there is no place for it.
    """
    broken = ModelProto()
    broken.CopyFrom(model)
    fault(broken, next(node for node in broken.graph.node if node.name == layer))
    return broken


def _reader(model: ModelProto, tensor: str) -> NodeProto:
    made = next((n for n in model.graph.node if tensor in n.output), None)
    if made is None or made.op_type != "DequantizeLinear":
        raise NotHereError("it does not read stored integers")
    return made


def _codes(model: ModelProto, node: NodeProto) -> bool:
    try:
        _weight(model, node)
    except NotHereError:
        return False
    return True


def _weight(model: ModelProto, node: NodeProto) -> tuple[NodeProto, int, np.ndarray]:
    """Who reads the stored weight, at which place, and its values."""
    if node.op_type in ("ConvInteger", "DynamicQuantizeLSTM", "MatMulInteger"):
        return node, 1, _value(model, node.input[1])
    reader = _reader(model, node.input[1])
    return reader, 0, _value(model, reader.input[0])


def _scale(model: ModelProto, node: NodeProto) -> tuple[NodeProto, int, np.ndarray]:
    if node.op_type == "DynamicQuantizeLSTM":
        return node, 8, _value(model, node.input[8])
    if node.op_type in ("ConvInteger", "MatMulInteger"):
        for maker in model.graph.node:
            if maker.op_type == "Mul":
                for position, name in enumerate(maker.input):
                    if name.removesuffix("_scale") == node.input[1].removesuffix("_quantized"):
                        return maker, position, _value(model, name)
        raise NotHereError("its scale is not found")
    reader = _reader(model, node.input[1])
    return reader, 1, _value(model, reader.input[1])


def _of_channel(node: NodeProto, codes: np.ndarray, factor: int) -> np.ndarray:
    axis = 0 if node.op_type in ("Conv", "ConvInteger") else codes.ndim - 1
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
        axis = 0
    if codes.dtype.kind == "u":
        raise NotHereError("weights with a zero point")
    changed = codes.astype(np.int64)
    chosen = [slice(None)] * codes.ndim
    chosen[axis] = slice(1, 2)
    changed[tuple(chosen)] *= factor
    return changed


def _value(model: ModelProto, name: str) -> np.ndarray:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    raise NotHereError(f"'{name}' is no constant")


def _change(
    model: ModelProto,
    node: NodeProto,
    position: int,
    value: np.ndarray,
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Give ``node`` its own changed copy of a constant: others may share it."""
    limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else None
    changed = change(value)
    if limits is not None:
        changed = np.clip(changed, limits.min, limits.max)
    name = f"{node.input[position]}_of_{node.name}_{position}"
    tensor: TensorProto = numpy_helper.from_array(
        np.asarray(changed, dtype=value.dtype, order="C"), name
    )
    node.input[position] = name
    model.graph.initializer.append(tensor)
