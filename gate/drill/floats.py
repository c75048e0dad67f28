"""Layers taken back to floating point, with the weights that their codes stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.backends import _onnx_ops as ops
from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.onnx_edit import Edit, Slot, attribute
from gate.drill.outputs import Output, layer_outputs
from gate.drill.sites import Weight, weights
from gate.drill.stored import readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that computes, with all its stored weights."""

    layer: str
    output: Output
    weights: tuple[Weight, ...]


def integer_layers(edit: Edit) -> list[Layer]:
    """Layers with stored weights, in order of the file."""
    by_node: dict[str, list[Weight]] = {}
    for weight in weights(edit):
        by_node.setdefault(weight.node.output[0], []).append(weight)
    return [
        Layer(layer=output.layer, output=output, weights=tuple(by_node[output.node.output[0]]))
        for output in layer_outputs(edit)
        if output.node.output[0] in by_node
    ]


def to_float(edit: Edit, layer: Layer) -> None:
    """Let a layer compute in floating point; what is stored before and behind it stays stored."""
    node, first = layer.output.node, layer.weights[0]
    real = [weight.real(edit).astype(np.float32) for weight in layer.weights]
    bias = _real_bias(edit, first)
    if first.form == "qdq":
        for weight, value in zip(layer.weights, real, strict=True):
            edit.put(_operand(edit, node, weight), value)
        if bias is not None and first.bias is not None and first.bias.scale is not None:
            edit.put(Slot(node, 2), bias)
    elif node.op_type == "DynamicQuantizeLSTM":
        _lstm(edit, node, real)
    elif first.form == "qoperator":
        _of_stored(edit, layer, real[0], bias)
    else:
        _of_sum(edit, layer, real[0], bias)
    edit.prune()


def _operand(edit: Edit, node: Any, weight: Weight) -> Slot:
    """The operand of ``node`` that its stored weight reaches."""
    made = weight.codes.node.output[0]
    return next(slot for slot in edit.readers(made) if slot.node.output == node.output)


def _real_bias(edit: Edit, weight: Weight) -> Array | None:
    bias = weight.bias
    if bias is None:
        return None
    values = edit.need(bias.values)
    if not bias.integers:
        return values
    if bias.scale is not None:
        unit = edit.need(bias.scale).astype(np.float64).reshape(-1)
    else:
        reading = next(r for r in readings(edit) if r.node.output == weight.node.output)
        scale = edit.need(weight.scale).astype(np.float64)
        unit = (scale * float(edit.need(reading.parameters.scale).reshape(-1)[0])).reshape(-1)
    return np.asarray((values * unit).astype(np.float32))


def _lstm(edit: Edit, node: Any, real: list[Array]) -> None:
    operands = list(node.input[:8])
    for position, value in zip((1, 2), real, strict=True):
        operands[position] = edit.constant(np.swapaxes(value, 1, 2), f"{node.name}_float")
    del node.input[:]
    node.input.extend(operands)
    node.op_type, node.domain = "LSTM", ""
    node.name = node.name.removesuffix("_quant")


def _kept(node: Any, op: str) -> dict[str, Any]:
    names = {
        "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
        "Gemm": ("alpha", "transA", "transB"),
        "MatMul": (),
    }
    if op not in names:
        raise NotHere(f"{op} is not taken back to floating point")
    found = {name: attribute(node, name) for name in names[op]}
    return {name: value for name, value in found.items() if value is not None}


def _of_stored(edit: Edit, layer: Layer, real: Array, bias: Array | None) -> None:
    """An operator of the QOperator format: dequantize, compute, quantize."""
    node, one = layer.output.node, layer.output.stored
    if one is None:
        raise NotHere("its result is not stored")
    op = layer.weights[0].op
    x = edit.add("DequantizeLinear", list(node.input[:3]))
    operands = [x, edit.constant(real, f"{layer.layer}_weight")]
    if bias is not None:
        operands.append(edit.constant(bias, f"{layer.layer}_bias"))
    parameters = [one.writer.scale.name, one.writer.zero_point.name]
    attributes = _kept(node, op)
    edit.remove(node)
    y = edit.add(op, operands, name=layer.layer, **attributes)
    edit.add("QuantizeLinear", [y, *parameters], one.tensor)


def _of_sum(edit: Edit, layer: Layer, real: Array, bias: Array | None) -> None:
    """An integer product of an input whose range is taken at run time."""
    node, op = layer.output.node, layer.weights[0].op
    quantize = edit.producer(node.input[0])
    result = layer.output.real
    if quantize is None or quantize.op_type not in ops.DYNAMIC_QUANTIZE or result is None:
        raise NotHere("its input is not quantized right before it")
    operands = [quantize.input[0], edit.constant(real, f"{layer.layer}_weight")]
    attributes = _kept(node, op)
    edit.set_aside(result)
    if bias is not None and op == "Conv":
        operands.append(edit.constant(bias.reshape(-1), f"{layer.layer}_bias"))
    if bias is not None and op == "MatMul":
        y = edit.add(op, operands, name=layer.layer)
        edit.add("Add", [y, edit.constant(bias, f"{layer.layer}_bias")], result)
    else:
        edit.add(op, operands, result, name=layer.layer, **attributes)


def activations_to_float(edit: Edit) -> None:
    """Take out the quantize and dequantize nodes of all activations; a range that begins at 0 stood
    for an activation function, which stays as a clamp."""
    for node in edit.nodes:
        if node.op_type not in ops.QUANTIZE | ops.DEQUANTIZE or edit.is_fixed(node.input[0]):
            continue
        ends = _clamped(edit, node) if node.op_type in ops.DEQUANTIZE else None
        if ends is None and node.output[0] not in edit.outputs:
            edit.move_readers(node.output[0], node.input[0])
            continue
        del node.input[1:]
        del node.attribute[:]
        node.op_type = "Identity" if ends is None else "Clip"
        if ends is not None:
            node.input.extend(edit.constant(np.array(end, np.float32), "drill_end") for end in ends)
    edit.prune()


def _clamped(edit: Edit, node: Any) -> tuple[float, float] | None:
    """Both ends of a range that begins at 0."""
    scale, zero = edit.need(Slot(node, 1)), edit.need(Slot(node, 2))
    limits = np.iinfo(zero.dtype)
    if zero.size > 1 or int(zero.reshape(-1)[0]) != limits.min:
        return None
    return 0.0, float((limits.max - limits.min) * scale.reshape(-1)[0])


_OPERATORS_ON_INTEGERS = {
    "QLinearAdd": ("Add", ()),
    "QLinearAveragePool": (
        "AveragePool",
        ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"),
    ),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", ()),
    "QLinearLeakyRelu": ("LeakyRelu", ("alpha",)),
    "QLinearMul": ("Mul", ()),
    "QLinearSigmoid": ("Sigmoid", ()),
}


def can_fall_back(node: Any) -> bool:
    """True for an operator on stored integers, without weights, that has a floating-point twin."""
    return node.op_type in _OPERATORS_ON_INTEGERS


def fall_back(edit: Edit, node: Any, name: str, *, identity: bool = False) -> None:
    """Replace such an operator: dequantize, the operator (or none at all), quantize."""
    op, kept = _OPERATORS_ON_INTEGERS[node.op_type]
    integer = ops.INTEGER_OPS[node.op_type]
    places = integer.data[:1] if identity else integer.data
    operands = [
        edit.add("DequantizeLinear", list(node.input[place : place + 3])) for place in places
    ]
    scale, zero = integer.scale or 0, integer.zero_point or 0
    parameters, result = [node.input[scale], node.input[zero]], node.output[0]
    attributes = {key: attribute(node, key) for key in kept}
    edit.remove(node)
    attributes = {key: value for key, value in attributes.items() if value is not None}
    y = (
        edit.add("Identity", operands, name=name)
        if identity
        else edit.add(op, operands, name=name, **attributes)
    )
    edit.add("QuantizeLinear", [y, *parameters], result)


def all_to_float(edit: Edit, layers: Iterable[str]) -> int:
    """Take the named layers to floating point one after the other; returns how many."""
    done = 0
    for name in list(layers):
        layer = next((one for one in integer_layers(edit) if one.layer == name), None)
        if layer is not None:
            to_float(edit, layer)
            done += 1
    return done
