"""Activations as they are stored between layers: who writes them, who reads them, with what parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.backends import _onnx_ops as ops
from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.onnx_edit import Edit, Slot, layer_name
from gate.drill.sites import bias_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Scale and zero point as one node holds them."""

    scale: Slot
    zero_point: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A computing layer's first operand, read from storage."""

    layer: str
    node: Any
    form: str
    tensor: Slot
    """Where the stored tensor is read."""
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored activation."""

    layer: str | None
    """The layer that makes it; None for an input of the model."""
    tensor: str
    maker: Any
    """The node of that layer; the quantize node for an input of the model."""
    form: str
    writer: Parameters
    readers: tuple[Parameters, ...]
    read_by: tuple[Any, ...]
    """Nodes of the layers that read it, in order."""

    def parameters(self, edit: Edit) -> tuple[float, int, Any]:
        """Scale, zero point and element type.

        Raises:
            NotHere: they are found at run time.
        """
        zero = edit.need(self.writer.zero_point)
        return (
            float(edit.need(self.writer.scale).reshape(-1)[0]),
            int(zero.reshape(-1)[0]),
            zero.dtype,
        )

    def real_range(self, edit: Edit) -> tuple[float, float]:
        """Smallest and largest real value that can be stored."""
        scale, zero, kind = self.parameters(edit)
        limits = np.iinfo(kind)
        return (limits.min - zero) * scale, (limits.max - zero) * scale

    def put_range(self, edit: Edit, low: float, high: float) -> None:
        """Store another range, as a quantizer that had observed it would have: writer and readers
        agree, and stored biases behind it keep their real values."""
        old, _, kind = self.parameters(edit)
        limits = np.iinfo(kind)
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (limits.max - limits.min), float(np.finfo(np.float32).eps))
        zero = int(np.clip(np.rint(limits.min - low / scale), limits.min, limits.max))
        for place in (self.writer, *self.readers):
            put_parameters(edit, place, scale, zero)
        for node in self.read_by:
            bias = bias_of(edit, node) if node.op_type not in ops.BOUNDARY else None
            if bias is not None:
                bias.rescale(edit, np.array([old / scale]))


def put_parameters(edit: Edit, place: Parameters, scale: float, zero_point: int) -> None:
    """Give one node other parameters of the same types and shapes."""
    for slot, value in ((place.scale, scale), (place.zero_point, zero_point)):
        old = edit.need(slot)
        edit.put(slot, np.full(old.shape, value, old.dtype))


def readings(edit: Edit) -> list[Reading]:
    """Computing layers that read their first operand from storage, in order."""
    found = []
    for node in edit.nodes:
        integer = ops.INTEGER_OPS.get(node.op_type)
        if node.op_type in ops.FLOAT_COMPUTE:
            maker = edit.producer(node.input[0])
            if maker is None or maker.op_type not in ops.DEQUANTIZE or len(maker.input) < 3:
                continue
            if not edit.is_constant(maker.input[1]) or edit.is_constant(maker.input[0]):
                continue
            found.append(_reading(edit, node, "qdq", Slot(maker, 0), 1))
        elif node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm"):
            found.append(_reading(edit, node, "qoperator", Slot(node, 0), 1))
        elif integer is not None and integer.accumulates and Slot(node, 2).name:
            found.append(_reading(edit, node, "dynamic", Slot(node, 0), 1))
    return found


def _reading(edit: Edit, node: Any, form: str, tensor: Slot, position: int) -> Reading:
    holder = tensor.node
    return Reading(
        layer=layer_name(edit, node),
        node=node,
        form=form,
        tensor=tensor,
        parameters=Parameters(scale=Slot(holder, position), zero_point=Slot(holder, position + 1)),
    )


def own_reading(edit: Edit, reading: Reading) -> Reading:
    """The same operand, read by nothing else."""
    if reading.form != "qdq":
        return reading
    maker = edit.private(Slot(reading.node, 0))
    return _reading(edit, reading.node, "qdq", Slot(maker, 0), 1)


def stored(edit: Edit) -> list[Stored]:
    """Activations in storage whose parameters are constants, in order of the file."""
    found = []
    for node in edit.nodes:
        integer = ops.INTEGER_OPS.get(node.op_type)
        if node.op_type in ops.QUANTIZE and edit.is_constant(Slot(node, 1).name):
            if edit.is_constant(node.input[0]) or not Slot(node, 2).name:
                continue
            maker = edit.producer(node.input[0])
            if maker is not None and maker.op_type in ops.DEQUANTIZE:
                continue
            writer = Parameters(scale=Slot(node, 1), zero_point=Slot(node, 2))
            found.append(_stored(edit, node, maker, writer))
        elif integer is not None and integer.scale is not None and integer.zero_point is not None:
            writer = Parameters(
                scale=Slot(node, integer.scale), zero_point=Slot(node, integer.zero_point)
            )
            if writer.zero_point.name:
                found.append(_stored(edit, node, node, writer))
    return found


def behind_layers(edit: Edit) -> list[Stored]:
    """Those that a layer makes."""
    return [one for one in stored(edit) if one.layer is not None]


def _stored(edit: Edit, node: Any, maker: Any | None, writer: Parameters) -> Stored:
    tensor = str(node.output[0])
    readers: list[Parameters] = []
    read_by: list[Any] = []
    waiting = [tensor]
    while waiting:
        for slot in edit.readers(waiting.pop()):
            reader = slot.node
            if reader.op_type in ops.DEQUANTIZE or reader.op_type in ops.INTEGER_OPS:
                first = slot.position + 1
                readers.append(
                    Parameters(scale=Slot(reader, first), zero_point=Slot(reader, first + 1))
                )
                behind = edit.readers(reader.output[0])
                dequantized = reader.op_type in ops.DEQUANTIZE
                read_by += [s.node for s in behind] if dequantized else [reader]
            elif reader.op_type in ops.DIRECT and slot.position == 0:
                waiting.append(reader.output[0])
    return Stored(
        layer=None if maker is None else layer_name(edit, maker),
        tensor=tensor,
        maker=node if maker is None else maker,
        form="qdq" if node.op_type in ops.QUANTIZE and maker is not None else "qoperator",
        writer=writer,
        readers=tuple(readers),
        read_by=tuple({id(one): one for one in read_by}.values()),
    )


def reader_names(edit: Edit, one: Stored) -> tuple[str, ...]:
    """Layers that read it."""
    return tuple(dict.fromkeys(layer_name(edit, node) for node in one.read_by))


def wrapped(edit: Edit, tensor: str, kind: Any) -> str:
    """Append nodes that flip the highest bit of stored 8-bit codes; returns their result.

    Raises:
        NotHere: the codes have another width.
    """
    from onnx import TensorProto

    if kind not in (np.uint8, np.int8):
        raise NotHere(f"codes of type {np.dtype(kind)}")
    signed = kind == np.int8

    def number(value: int) -> str:
        return edit.constant(np.array(value, np.int32), "drill_int32")

    wide = edit.add("Cast", [tensor], to=TensorProto.INT32)
    moved = edit.add("Add", [wide, number(256 if signed else 128)])
    around = edit.add("Mod", [moved, number(256)])
    if signed:
        around = edit.add("Sub", [around, number(128)])
    return edit.add("Cast", [around], to=TensorProto.INT8 if signed else TensorProto.UINT8)


def half_step(values: Array, unit: Array, step: float) -> Array:
    """Stored biases less half an output step, which makes rounding to nearest a truncation."""
    return np.asarray(np.rint(values.astype(np.float64) - step / 2 / unit))
