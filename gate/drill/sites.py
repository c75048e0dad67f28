"""The places of a quantized ONNX graph that faults go into, in any of its three forms.

``qdq``: operators between dequantize and quantize nodes. ``qoperator``: operators on stored integers
that hold scales and zero points as operands. ``dynamic``: integer products of activations whose range
is taken at run time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gate.backends import _onnx_ops as ops
from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.onnx_edit import Edit, Slot, attribute, layer_name


class Constants(Protocol):
    """What weights are read from and written to: an ONNX graph, or a torch state."""

    def need(self, slot: Slot) -> Array:
        """Value of a constant. Raises NotHere where it is none."""
        ...

    def put(self, slot: Slot, value: Array) -> None:
        """Replace it, for this one reader."""
        ...


@dataclass(frozen=True, slots=True)
class Node:
    """One node as a place."""

    layer: str | None
    node: Any


def nodes(edit: Edit) -> list[Node]:
    """All nodes that work on data, in order."""
    return [
        Node(layer_name(edit, node), node)
        for node in edit.nodes
        if node.op_type not in ops.BOUNDARY and not edit.is_fixed(node.output[0])
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """A constant that is added to a layer's output channels."""

    values: Slot
    scale: Slot | None = None
    """Where integers are stored and a node dequantizes them."""

    integers: bool = False
    """Integers are stored, in units of input scale x weight scale."""

    def rescale(self, edit: Constants, factor: Array) -> None:
        """Keep the real value of a stored bias whose unit has become smaller by ``factor`` (one
        number, or one a channel): kernels take the unit to be input scale x weight scale."""
        if not self.integers:
            return
        values, factor = edit.need(self.values), factor.reshape(-1)
        limits = np.iinfo(values.dtype)
        edit.put(
            self.values,
            np.clip(np.rint(values * factor), limits.min, limits.max).astype(values.dtype),
        )
        if self.scale is not None:
            unit = edit.need(self.scale)
            edit.put(self.scale, (unit / factor).astype(unit.dtype).reshape(unit.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One stored weight of one layer."""

    layer: str
    node: Any
    """The node that computes; None in a torch state."""
    op: str
    """Its operator in the float graph."""
    form: str
    """``qdq``, ``qoperator``, ``dynamic`` or ``torch``."""
    codes: Slot
    scale: Slot
    zero_point: Slot | None
    channel_axis: int
    """Output channels."""
    input_axis: int
    bias: Bias | None

    def offset(self, edit: Constants) -> Array:
        """Zero points, broadcastable against the scales."""
        if self.zero_point is None or not self.zero_point.name:
            return np.zeros(1, np.int64)
        return edit.need(self.zero_point).astype(np.int64).reshape(-1)

    def along_channels(self, edit: Constants, values: Array) -> Array:
        """One value, or one a channel, in the shape that multiplies the weight.

        Raises:
            NotHere: their number is neither.
        """
        codes = edit.need(self.codes)
        flat = values.reshape(-1)
        shape = [1] * codes.ndim
        if flat.size > 1:
            if flat.size != codes.shape[self.channel_axis]:
                raise NotHere(f"{flat.size} scales for {codes.shape[self.channel_axis]} channels")
            shape[self.channel_axis] = flat.size
        return flat.reshape(shape)

    def real(self, edit: Constants) -> Array:
        """The weight that the codes stand for, float64."""
        codes = edit.need(self.codes).astype(np.float64)
        scale = self.along_channels(edit, edit.need(self.scale).astype(np.float64))
        return np.asarray((codes - self.along_channels(edit, self.offset(edit))) * scale)

    def channels(self, edit: Constants) -> int:
        """Number of output channels."""
        return int(edit.need(self.codes).shape[self.channel_axis])

    def per_channel(self, edit: Constants) -> bool:
        """True where each output channel has a scale of its own."""
        return edit.need(self.scale).size > 1

    def put_codes(self, edit: Constants, codes: Array) -> None:
        """Store other codes of the same type, cut off at its limits."""
        kind = edit.need(self.codes).dtype
        limits = np.iinfo(kind)
        edit.put(self.codes, np.clip(np.rint(codes), limits.min, limits.max).astype(kind))

    def put_scale(self, edit: Constants, scale: Array) -> None:
        """Store other scales, of the same type and shape."""
        old = edit.need(self.scale)
        edit.put(self.scale, scale.reshape(old.shape).astype(old.dtype))

    def requantize(self, edit: Constants, real: Array) -> None:
        """Store another weight as the quantizer would have: the largest value of a channel (or of
        all) meets the end of the codes. A stored bias keeps its real value."""
        codes, old = edit.need(self.codes), edit.need(self.scale).astype(np.float64)
        limits, offset = np.iinfo(codes.dtype), self.along_channels(edit, self.offset(edit))
        axes = tuple(i for i in range(real.ndim) if i != self.channel_axis % real.ndim)
        over = axes if self.per_channel(edit) else None
        largest = np.abs(real).max(axis=over, keepdims=True)
        room = np.minimum(limits.max - offset, np.maximum(offset - limits.min, 1))
        scale = np.where(largest > 0, largest / np.minimum(room, 127), 1.0)
        self.put_codes(edit, real / scale + offset)
        self.put_scale(edit, scale)
        self.rescale_bias(edit, old.reshape(-1) / scale.reshape(-1))

    def rescale_bias(self, edit: Constants, factor: Array) -> None:
        """See :meth:`Bias.rescale`; nothing where there is no bias."""
        if self.bias is not None:
            self.bias.rescale(edit, factor)


def weights(edit: Edit) -> list[Weight]:
    """All stored weights, in order of the file."""
    return [weight for node in edit.nodes for weight in _weights_of(edit, node)]


def _weights_of(edit: Edit, node: Any) -> Iterator[Weight]:
    integer = ops.INTEGER_OPS.get(node.op_type)
    if node.op_type in ops.FLOAT_COMPUTE:
        for position in ops.FLOAT_COMPUTE[node.op_type]:
            maker = edit.producer(node.input[position]) if position < len(node.input) else None
            if maker is None or maker.op_type not in ops.DEQUANTIZE:
                continue
            if edit.value(maker.input[0]) is not None and not attribute(maker, "block_size"):
                slots = (
                    Slot(maker, 0),
                    Slot(maker, 1),
                    Slot(maker, 2) if len(maker.input) > 2 else None,
                )
                yield _weight(edit, node, node.op_type, "qdq", slots)
    elif integer is not None and node.op_type not in ops.PACKED:
        for codes, scale, zero_point in integer.weight:
            if not edit.is_constant(Slot(node, codes).name):
                continue
            scale_slot = Slot(node, scale) if scale is not None else _dynamic_scale(edit, node)
            if scale_slot is None:
                continue
            zero = Slot(node, zero_point) if zero_point is not None else None
            if zero is not None and not zero.name:
                zero = None
            form = "dynamic" if scale is None or "Dynamic" in node.op_type else "qoperator"
            yield _weight(
                edit, node, integer.stands_for, form, (Slot(node, codes), scale_slot, zero)
            )


def _weight(
    edit: Edit, node: Any, op: str, form: str, slots: tuple[Slot, Slot, Slot | None]
) -> Weight:
    channel, inputs = _axes(node, op, form)
    return Weight(
        layer=layer_name(edit, node),
        node=node,
        op=op,
        form=form,
        codes=slots[0],
        scale=slots[1],
        zero_point=slots[2],
        channel_axis=channel,
        input_axis=inputs,
        bias=bias_of(edit, node),
    )


def _axes(node: Any, op: str, form: str) -> tuple[int, int]:
    """Axes of output and input channels in the stored weight."""
    if op in ("Conv", "FusedConv"):
        return 0, 1
    if op == "ConvTranspose":
        return 1, 0
    if op in ("Gemm", "FusedGemm"):
        return (0, 1) if attribute(node, "transB", 0) else (1, 0)
    if op in ("LSTM", "GRU", "RNN") and form == "qdq":
        return 1, 2
    return -1, -2


def _dynamic_scale(edit: Edit, node: Any) -> Slot | None:
    """The constant scale of the weight, in the product of scales behind an int32 sum."""
    tensor = node.output[0]
    for _ in range(2):
        after = edit.readers(tensor)
        if len(after) != 1:
            return None
        following = after[0].node
        if following.op_type == "Mul":
            other = Slot(following, 1 - after[0].position)
            if edit.is_constant(other.name):
                return other
            maker = edit.producer(other.name)
            if maker is None or maker.op_type != "Mul":
                return None
            return next((s for i in (0, 1) if edit.is_constant((s := Slot(maker, i)).name)), None)
        tensor = following.output[0]
    return None


_BIAS_OPERAND = {
    "Conv": 2,
    "ConvTranspose": 2,
    "DynamicQuantizeLSTM": 3,
    "Gemm": 2,
    "LSTM": 3,
    "QGemm": 6,
    "QLinearConv": 8,
}


def bias_of(edit: Edit, node: Any) -> Bias | None:
    """The bias of a computing node, wherever it stands; None where there is none."""
    if node.op_type in _BIAS_OPERAND:
        return _constant_bias(edit, Slot(node, _BIAS_OPERAND[node.op_type]))
    tensor = node.output[0]
    for op in ("Cast", "Mul", "Add"):
        after = edit.readers(tensor)
        if len(after) != 1:
            return None
        following = after[0].node
        if following.op_type == "Add":
            return _constant_bias(edit, Slot(following, 1 - after[0].position))
        if following.op_type != op:
            return None
        tensor = following.output[0]
    return None


def _constant_bias(edit: Edit, slot: Slot) -> Bias | None:
    maker = edit.producer(slot.name)
    if maker is None:
        integer = ops.INTEGER_OPS.get(slot.node.op_type)
        integers = integer is not None and integer.scale is not None
        return Bias(values=slot, integers=integers) if edit.is_constant(slot.name) else None
    if not edit.is_constant(maker.input[0]):
        return None
    if maker.op_type in ops.DEQUANTIZE:
        return Bias(values=Slot(maker, 0), scale=Slot(maker, 1), integers=True)
    return Bias(values=Slot(maker, 0)) if maker.op_type == "Reshape" else None
