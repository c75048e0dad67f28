"""Faults of stored activations: zero points, ranges, rounding, signs, saturation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gate.drill.base import Injection, NotHere
from gate.drill.disguise import hide
from gate.drill.injector import Whole, at, whole
from gate.drill.onnx_edit import Edit, Slot
from gate.drill.saturation import saturate
from gate.drill.sites import Node, Weight, nodes, weights
from gate.drill.stored import (
    Reading,
    Stored,
    behind_layers,
    half_step,
    own_reading,
    reader_names,
    readings,
    wrapped,
)
from gate.drill.torch_state import StateOutput, state_outputs, state_step, state_weights

Rng = np.random.Generator


@at(readings)
def zero_point_off_by_1(edit: Edit, reading: Reading, rng: Rng) -> str:
    """The layer reads its input with a zero point beside the one it was written with."""
    del rng
    return _zero_point(edit, reading, 1)


@at(readings)
def zero_point_off_by_4(edit: Edit, reading: Reading, rng: Rng) -> str:
    """As above, by four."""
    del rng
    return _zero_point(edit, reading, 4)


@at(readings)
def zero_point_ignored(edit: Edit, reading: Reading, rng: Rng) -> str:
    """The layer takes the zero point of its input for 0."""
    del rng
    reading = own_reading(edit, reading)
    slot = reading.parameters.zero_point
    value = edit.value(slot.name)
    if value is not None and not value.any():
        raise NotHere("the zero point is 0")
    edit.put(slot, np.zeros_like(value) if value is not None else np.array(0, np.uint8))
    return f"zero point {'of the run' if value is None else int(value.reshape(-1)[0])} -> 0"


def _ranges(edit: Edit) -> list[Stored | Reading]:
    """Stored results of layers, and inputs whose range is taken at run time."""
    at_run_time = [one for one in readings(edit) if one.form == "dynamic"]
    return [*behind_layers(edit), *at_run_time]


@at(_ranges, state_outputs)
def range_halved(edit: Any, one: Stored | StateOutput | Reading, rng: Rng) -> str:
    """Half as wide a range: larger values are clipped."""
    del rng
    if not isinstance(one, Reading):
        return _range(edit, one, 0.5)
    quantize, x = _own_quantize(edit, one)
    operands, since = list(quantize.input), len(edit.graph.node)
    half = edit.constant(np.array(0.5, np.float32), "drill_half")
    high = edit.add("Mul", [edit.add("ReduceMax", [x], keepdims=0), half])
    low = edit.add("Mul", [edit.add("ReduceMin", [x], keepdims=0), half])
    quantize.input[0] = edit.add("Max", [edit.add("Min", [x, high]), low])
    hide(edit, quantize, operands, since)
    return "input's range x 0.5"


@at(_ranges, state_outputs)
def range_x8(edit: Any, one: Stored | StateOutput | Reading, rng: Rng) -> str:
    """Eight times as wide a range: three bits lie idle."""
    del rng
    if not isinstance(one, Reading):
        return _range(edit, one, 8.0)
    quantize, x = _own_quantize(edit, one)
    operands, since = list(quantize.input), len(edit.graph.node)
    eight = edit.constant(np.array(8, np.float32), "drill_eight")
    fine = edit.add_many("DynamicQuantizeLinear", [x], 3)
    step = edit.add("Mul", [fine[1], eight])
    codes = edit.add("Round", [edit.add("Div", [x, step])])
    quantize.input[0] = edit.add("Mul", [codes, step])
    hide(edit, quantize, operands, since)
    return "input's range x 8"


@at(_ranges)
def requantize_scale(edit: Edit, one: Stored | Reading, rng: Rng) -> str | Injection:
    """Written with a scale 10 % larger than the one it is read with."""
    del rng
    if isinstance(one, Reading):
        quantize, _ = _own_quantize(edit, one)
        factor = edit.constant(np.array(1 / 1.1, np.float32), "drill_factor")
        scale = quantize.output[1]
        edit.move_readers(scale, wrong := edit.fresh("drill_scale"))
        edit.add("Mul", [scale, factor], wrong)
        return "input read with scale / 1.1"
    before = edit.need(one.writer.scale)
    edit.put(one.writer.scale, (before * 1.1).astype(before.dtype))
    return Injection(layer=one.layer, detail="output scale x 1.1", also=reader_names(edit, one))


def _with_relu(edit: Edit) -> list[Stored | Node]:
    """Stored results of layers, and activations in floating point."""
    return [*behind_layers(edit), *(n for n in nodes(edit) if n.node.op_type == "Relu")]


@at(_with_relu)
def clipped_at_6(edit: Edit, one: Stored | Node, rng: Rng) -> str:
    """What lies above 6 is cut off, as a ReLU6 would."""
    del rng
    if isinstance(one, Node):
        limits = [edit.constant(np.array(v, np.float32), "drill_limit") for v in (0, 6)]
        one.node.op_type = "Clip"
        one.node.input.extend(limits)
        return "Relu -> Clip(0, 6)"
    low, high = one.real_range(edit)
    if low < 0:
        raise NotHere("it has no ReLU")
    if high <= 6.01:  # a ReLU6 by now
        raise NotHere(f"it goes up to {high:.3g} only")
    one.put_range(edit, low, 6.0)
    return f"upper end {high:.3g} -> 6"


@at(weights, state_weights)
def rounding_truncates(edit: Any, weight: Weight, rng: Rng) -> str:
    """Rounds down rather than to nearest: half an output step is taken off the stored bias."""
    del rng
    if weight.form == "dynamic":
        return _truncate_input(edit, weight)
    if weight.bias is not None and weight.form == "torch":
        step = state_step(edit, weight.layer)
        values = edit.need(weight.bias.values)
        edit.put(weight.bias.values, values - values.dtype.type(step / 2))
        return f"output rounded down to steps of {step:.3g}"
    if weight.bias is None or not weight.bias.integers:
        raise NotHere("it has no stored bias to take half a step off")
    one = _behind(edit, weight.node)
    step = one.parameters(edit)[0]
    values = edit.need(weight.bias.values)
    if weight.bias.scale is not None:
        unit = edit.need(weight.bias.scale).astype(np.float64).reshape(-1)
    else:
        reading = next(r for r in readings(edit) if r.node.output == weight.node.output)
        unit = (edit.need(weight.scale) * edit.need(reading.parameters.scale)).reshape(-1)
    edit.put(weight.bias.values, half_step(values, unit, step).astype(values.dtype))
    return f"output rounded down to steps of {step:.3g}"


@at(readings)
def sign_confused(edit: Edit, reading: Reading, rng: Rng) -> str:
    """Codes read with their highest bit taken for a sign, or the other way round."""
    del rng
    reading = own_reading(edit, reading)
    zero = edit.value(reading.parameters.zero_point.name)
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    holder = reading.tensor.node
    operands, since = list(holder.input), len(edit.graph.node)
    holder.input[reading.tensor.position] = wrapped(edit, reading.tensor.name, kind)
    hide(edit, holder, operands, since)
    return f"{kind} codes read as {'uint8' if kind == np.int8 else 'int8'}"


@at(weights)
def saturating_pairs(edit: Edit, weight: Weight, rng: Rng) -> str:
    """Sums of two neighbouring products cut off at 16 bits."""
    del rng
    return saturate(edit, weight)


@at(whole)
def output_nan(edit: Edit, place: Whole, rng: Rng) -> str:
    """The last dequantization multiplies by NaN."""
    del place, rng
    output = edit.outputs[0]
    maker = edit.producer(output)
    if maker is not None and maker.op_type == "DequantizeLinear":
        slot = Slot(maker, 1)
        edit.put(slot, np.full_like(edit.need(slot), np.nan))
    else:
        inner = edit.set_aside(output)
        nan = edit.constant(np.array(np.nan, np.float32), "drill_nan")
        edit.add("Mul", [inner, nan], output)
    return f"scale of {output} is NaN"


def _own_quantize(edit: Edit, reading: Reading) -> tuple[Any, str]:
    """The node that quantizes a layer's input at run time, read by that layer alone, and its input."""
    maker = edit.producer(reading.tensor.name)
    if maker is None or maker.op_type != "DynamicQuantizeLinear":
        raise NotHere("its input is not quantized right before it")
    if len(edit.readers(maker.output[0])) > 1:
        raise NotHere("other layers read its input as well")
    return maker, str(maker.input[0])


def _zero_point(edit: Edit, reading: Reading, offset: int) -> str:
    reading = own_reading(edit, reading)
    slot = reading.parameters.zero_point
    value = edit.value(slot.name)
    if value is None:
        _move_at_run_time(edit, slot, offset)
        return f"zero point + {offset}"
    moved = value.astype(np.int64) + offset
    if moved.max() > np.iinfo(value.dtype).max:
        moved = value.astype(np.int64) - offset
    edit.put(slot, moved.astype(value.dtype))
    return f"zero point {int(value.reshape(-1)[0])} -> {int(moved.reshape(-1)[0])}"


def _move_at_run_time(edit: Edit, slot: Slot, offset: int) -> None:
    from onnx import TensorProto

    operands, since = list(slot.node.input), len(edit.graph.node)
    limits = [edit.constant(np.array(value, np.float32), "drill_limit") for value in (0, 255)]
    step = edit.constant(np.array(offset, np.float32), "drill_offset")
    real = edit.add("Cast", [slot.name], to=TensorProto.FLOAT)
    clipped = edit.add("Clip", [edit.add("Add", [real, step]), *limits])
    slot.node.input[slot.position] = edit.add("Cast", [clipped], to=TensorProto.UINT8)
    hide(edit, slot.node, operands, since)


def _range(edit: Any, one: Stored | StateOutput, factor: float) -> str:
    low, high = one.real_range(edit)
    one.put_range(edit, low * factor, high * factor)
    return f"range {low:.3g} ... {high:.3g} x {factor:g}"


def _behind(edit: Edit, node: Any) -> Stored:
    for one in behind_layers(edit):
        if one.maker.output == node.output:
            return one
    raise NotHere("its output is not stored in integers")


def _truncate_input(edit: Edit, weight: Weight) -> str:
    """Where the output stays in floating point, the layer's input is what is rounded."""
    from onnx import TensorProto

    reading = next((r for r in readings(edit) if r.node.output == weight.node.output), None)
    if reading is None:
        raise NotHere("its input is quantized inside the operator")
    quantize, x = _own_quantize(edit, reading)
    operands, since = list(quantize.input), len(edit.graph.node)
    _, scale, zero = quantize.output
    limits = [edit.constant(np.array(value, np.float32), "drill_limit") for value in (0, 255)]
    floor = edit.add("Floor", [edit.add("Div", [x, scale])])
    moved = edit.add("Add", [floor, edit.add("Cast", [zero], to=TensorProto.FLOAT)])
    codes = edit.add("Cast", [edit.add("Clip", [moved, *limits])], to=TensorProto.UINT8)
    hide(edit, quantize, operands, since, [codes, scale, zero])
    return "input rounded down"
