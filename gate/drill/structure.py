"""Faults of how a candidate is built: layers left in float, folds, borders, layouts, lost nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.backends import _onnx_ops as ops
from gate.core.tensors import Array
from gate.drill import floats
from gate.drill.base import Injection, NotHere
from gate.drill.onnx_edit import Edit, Slot, attribute, layer_name, set_attribute
from gate.drill.outputs import Output, layer_outputs, put_behind
from gate.drill.sites import Constants, Node, Weight, Whole, at, bias_of, nodes, weights, whole
from gate.drill.stored import Stored, behind_layers, own_reading, readings
from gate.drill.torch_state import StateEdit, state_weights

Rng = np.random.Generator

_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
)


@at(floats.integer_layers)
def layer_in_float(edit: Edit, layer: floats.Layer, rng: Rng) -> str:
    """One layer computes in floating point, with the weights that its codes stand for."""
    del rng
    floats.to_float(edit, layer)
    return f"{layer.weights[0].op} in floating point"


@dataclass(frozen=True, slots=True)
class _Operator:
    """All layers of one operator."""

    layer: None
    op: str
    names: tuple[str, ...]


def _operators(edit: Edit) -> list[_Operator]:
    found: dict[str, list[str]] = {}
    for layer in floats.integer_layers(edit):
        found.setdefault(layer.weights[0].op, []).append(layer.layer)
    return [_Operator(None, op, tuple(names)) for op, names in found.items()]


@at(_operators)
def op_type_in_float(edit: Edit, place: _Operator, rng: Rng) -> str:
    """All layers of one operator compute in floating point."""
    del rng
    return f"{floats.all_to_float(edit, place.names)} x {place.op} in floating point"


def _between_integers(edit: Edit) -> list[Node | Stored]:
    operators = [one for one in nodes(edit) if floats.can_fall_back(one.node)]
    dequantized = [
        one
        for one in behind_layers(edit)
        if one.form == "qdq"
        and not ops.computes(one.maker.op_type)
        and one.maker.op_type not in ops.DIRECT
    ]
    return [*operators, *dequantized]


@at(_between_integers)
def op_fallback(edit: Edit, place: Node | Stored, rng: Rng) -> str:
    """An operator without weights computes on, and hands on, real values."""
    del rng
    if isinstance(place, Node):
        op = place.node.op_type
        floats.fall_back(edit, place.node, str(place.layer))
        return f"{op} falls back to floating point"
    quantize = place.writer.scale.node
    for slot in edit.readers(place.tensor):
        if slot.node.op_type not in ops.DEQUANTIZE or slot.node.output[0] in edit.outputs:
            raise NotHere("its stored result is read as such")
    for slot in edit.readers(place.tensor):
        edit.move_readers(slot.node.output[0], quantize.input[0])
    edit.prune()
    return f"result of {place.maker.op_type} left in floating point"


def _convolutions(edit: Edit) -> list[Weight]:
    return [weight for weight in weights(edit) if weight.op == "Conv"]


def _state_convolutions(edit: StateEdit) -> list[Weight]:
    return [weight for weight in state_weights(edit) if weight.op == "Conv"]


@at(_convolutions, _state_convolutions)
def bn_folded_twice(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The factors of a batch norm, estimated by the norms of the channels, multiplied in again."""
    del rng
    factor = _batch_norm_factors(edit, weight)
    weight.requantize(edit, weight.real(edit) * weight.along_channels(edit, factor))
    if weight.bias is not None:
        values = edit.need(weight.bias.values)
        edit.put(weight.bias.values, _like(values, values * factor))
    return f"channels multiplied by {factor.min():.3g} to {factor.max():.3g}"


@at(_convolutions, _state_convolutions)
def bn_folded_wrong_axis(edit: Constants, weight: Weight, rng: Rng) -> str:
    """As many factors as there are input channels too, and multiplied along those."""
    del rng
    factor = _batch_norm_factors(edit, weight)
    real = weight.real(edit)
    if real.shape[weight.input_axis] != factor.size:
        raise NotHere(f"its weight of shape {list(real.shape)} is not square")
    shape = [1] * real.ndim
    shape[weight.input_axis] = factor.size
    moved = real / weight.along_channels(edit, factor) * factor.reshape(shape)
    weight.requantize(edit, moved)
    return f"factors of {factor.min():.3g} to {factor.max():.3g} along axis {weight.input_axis}"


def _batch_norm_factors(edit: Constants, weight: Weight) -> Array:
    real = np.moveaxis(weight.real(edit), weight.channel_axis, 0)
    norms = np.sqrt((real.reshape(len(real), -1) ** 2).mean(1))
    living = norms[norms > 0]
    if not living.size or weight.channels(edit) == 1:
        raise NotHere("its channels have no norms to tell apart")
    factor: Array = np.where(norms > 0, norms / np.exp(np.log(living).mean()), 1.0)
    return np.clip(factor, 0.1, 10.0)


def _padded(edit: Edit) -> list[Node]:
    return [
        one
        for one in nodes(edit)
        if one.node.op_type in ("Conv", "QLinearConv", "ConvInteger")
        and any(attribute(one.node, "pads", []))
    ]


@at(_padded)
def padding_with_zero(edit: Edit, place: Node, rng: Rng) -> str:
    """Codes of 0 around the stored input, where the zero point stands for the real 0."""
    del rng
    node = place.node
    reading = next((one for one in readings(edit) if one.node.output == node.output), None)
    if reading is None:
        raise NotHere("its input is not stored in integers")
    reading = own_reading(edit, reading)
    zero = edit.value(reading.parameters.zero_point.name)
    if zero is not None and not zero.any():
        raise NotHere("its zero point is 0")
    pads = list(attribute(node, "pads"))
    half = len(pads) // 2
    amounts = edit.constant(
        np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64), "drill_pads"
    )
    slot = reading.tensor
    slot.node.input[slot.position] = edit.add("Pad", [slot.name, amounts])
    set_attribute(node, "pads", [0] * len(pads))
    return "padded with code 0" + (
        f", the zero point is {int(zero.reshape(-1)[0])}" if zero is not None else ""
    )


@at(_padded)
def padding_shifted(edit: Edit, place: Node, rng: Rng) -> str:
    """One less in front, one more behind."""
    del edit, rng
    pads = list(attribute(place.node, "pads"))
    half = len(pads) // 2
    moved = [max(p - 1, 0) for p in pads[:half]]
    moved += [p + min(before, 1) for p, before in zip(pads[half:], pads[:half], strict=True)]
    if moved == pads:
        raise NotHere("nothing is padded in front")
    set_attribute(place.node, "pads", moved)
    return f"pads {pads} -> {moved}"


@at(
    lambda edit: [
        n for n in nodes(edit) if n.node.op_type in ("Conv", "QLinearConv", "ConvInteger")
    ]
)
def stride_changed(edit: Edit, place: Node, rng: Rng) -> str:
    """Every second place left out."""
    weight = edit.value(place.node.input[3 if place.node.op_type == "QLinearConv" else 1])
    del rng
    rank = 2 if weight is None else weight.ndim - 2
    strides = list(attribute(place.node, "strides", [1] * rank))
    set_attribute(place.node, "strides", [2 * stride for stride in strides])
    return f"strides {strides} -> {[2 * stride for stride in strides]}"


@at(whole)
def output_shape(edit: Edit, place: Whole, rng: Rng) -> Injection:
    """The last column of the first output cut off."""
    del place, rng
    output = edit.graph.output[0]
    inner = edit.set_aside(output.name)
    numbers = [edit.constant(np.array([n], np.int64), "drill_cut") for n in (0, -1, -1)]
    edit.add("Slice", [inner, *numbers], output.name, name="cut")
    dims = output.type.tensor_type.shape.dim
    if len(dims) and dims[-1].HasField("dim_value"):
        dims[-1].dim_value -= 1
    return Injection(layer=None, detail=f"last column of {output.name} cut off")


@at(lambda edit: [n for n in nodes(edit) if n.node.op_type in ("Flatten", "Reshape")])
def layout_at_flatten(edit: Edit, place: Node, rng: Rng) -> str:
    """Channels moved to the end before four axes become two."""
    del rng
    before, after = (edit.shape(name) for name in (place.node.input[0], place.node.output[0]))
    # Contrib operators hide shapes: where the rank is not known, the runtime has the say.
    if (before is not None and len(before) != 4) or (after is not None and len(after) != 2):
        raise NotHere("it does not make two axes of four")
    place.node.input[0] = edit.add("Transpose", [place.node.input[0]], perm=[0, 2, 3, 1])
    return "flattened with the channels last"


@at(whole)
def layout_at_input(edit: Edit, place: Whole, rng: Rng) -> str:
    """The memory of the first input read with its second axis last."""
    del place, rng
    name = edit.inputs[0]
    shape = edit.shape(name)
    if shape is None or len(shape) < 3 or any(n is None for n in shape[1:]):
        raise NotHere(f"input {name} has no channel axis, or one of unknown size")
    rank = len(shape)
    order = np.array([0, *(n or 0 for n in shape[2:]), shape[1] or 0], np.int64)
    read = edit.add("Reshape", [name, edit.constant(order, "drill_shape")])
    back = edit.add("Transpose", [read], perm=[0, rank - 1, *range(1, rank - 1)])
    edit.move_readers(name, back, but=[read])
    return f"{name} read with its channels last"


@at(lambda edit: [n for n in nodes(edit) if n.node.op_type in ("Add", "QLinearAdd")])
def residual_dropped(edit: Edit, place: Node, rng: Rng) -> str:
    """Only one of two summed tensors goes on; the one that others read as well is left out."""
    node = place.node
    second = 3 if node.op_type == "QLinearAdd" else 1
    if edit.is_fixed(node.input[0]) or edit.is_fixed(node.input[second]):
        raise NotHere("it adds a constant")
    users = [_users(edit, node.input[i]) for i in (0, second)]
    kept = int(rng.integers(2)) if users[0] == users[1] else int(users[0] > users[1])
    if kept:
        for offset in range(3 if second == 3 else 1):
            node.input[offset] = node.input[second + offset]
    if node.op_type == "QLinearAdd":
        floats.fall_back(edit, node, str(place.layer), identity=True)
    else:
        node.op_type = "Identity"
        del node.input[1:]
    edit.prune()
    return f"only its {'second' if kept else 'first'} term is left"


def _users(edit: Edit, tensor: str) -> int:
    """How often a value is read, dequantized or as it is stored."""
    maker = edit.producer(tensor)
    found = len(edit.readers(tensor))
    if maker is not None and maker.op_type in ops.DEQUANTIZE:
        found = max(found, len(edit.readers(maker.input[0])))
    return found


def _activations(edit: Edit) -> list[Node | Stored]:
    alone = [one for one in nodes(edit) if one.node.op_type.removeprefix("QLinear") in _ACTIVATIONS]
    return [*alone, *behind_layers(edit)]


@at(_activations)
def activation_removed(edit: Edit, place: Node | Stored, rng: Rng) -> str:
    """A node taken out; or a range that began at 0, and so cut off, made to hold both signs."""
    del rng
    if isinstance(place, Stored):
        low, high = place.real_range(edit)
        if low < 0 or place.maker.op_type in ops.DIRECT or "Pool" in place.maker.op_type:
            raise NotHere("its result is not cut off at 0")
        place.put_range(edit, -high, high)
        return f"range 0 ... {high:.3g} -> {-high:.3g} ... {high:.3g}"
    node, op = place.node, place.node.op_type
    if floats.can_fall_back(node):
        floats.fall_back(edit, node, str(place.layer), identity=True)
    elif op.startswith("QLinear"):
        raise NotHere(f"{op} is not taken out")
    else:
        node.op_type = "Identity"
        del node.input[1:]
        del node.attribute[:]
    return f"{op} removed"


@at(layer_outputs)
def output_transposed(edit: Edit, output: Output, rng: Rng) -> str:
    """Written with its last two axes exchanged, read with the shape that it should have."""
    del rng
    shape = edit.shape(output.tensor)
    if shape is None or len(shape) < 2:
        raise NotHere("its shape is not known")
    rank = len(shape)
    square = shape[-1] is not None and shape[-1] == shape[-2]

    def build(x: str, out: str) -> None:
        order = [*range(rank - 2), rank - 1, rank - 2]
        if square:
            edit.add("Transpose", [x], out, perm=order)
        else:
            exchanged = edit.add("Transpose", [x], perm=order)
            edit.add("Reshape", [exchanged, edit.add("Shape", [x])], out)

    put_behind(edit, output, build)
    return "last two axes exchanged"


@dataclass(frozen=True, slots=True)
class _Pair:
    layer: str
    first: Weight
    second: Weight


def _pairs(edit: Edit) -> list[_Pair]:
    return _alike(edit, weights(edit))


def _state_pairs(edit: StateEdit) -> list[_Pair]:
    return _alike(edit, state_weights(edit))


def _alike(edit: Constants, found: Sequence[Weight]) -> list[_Pair]:

    def kind(weight: Weight) -> tuple[Any, ...]:
        codes, scale = edit.need(weight.codes), edit.need(weight.scale)
        return weight.op, weight.form, codes.shape, codes.dtype, scale.shape, weight.codes.position

    return [
        _Pair(one.layer, one, other)
        for index, one in enumerate(found)
        for other in found[index + 1 :]
        if kind(one) == kind(other) and one.layer != other.layer
    ]


@at(_pairs, _state_pairs)
def layers_swapped(edit: Constants, pair: _Pair, rng: Rng) -> Injection:
    """Each of two layers of one shape computes with the other's weights."""
    del rng
    scales = [edit.need(weight.scale).astype(np.float64) for weight in (pair.first, pair.second)]
    codes = [edit.need(weight.codes) for weight in (pair.first, pair.second)]
    for own, weight in enumerate((pair.first, pair.second)):
        weight.put_codes(edit, codes[1 - own])
        weight.put_scale(edit, scales[1 - own])
        weight.rescale_bias(edit, scales[own].reshape(-1) / scales[1 - own].reshape(-1))
    return Injection(
        layer=pair.first.layer,
        detail=f"weights exchanged with {pair.second.layer}",
        also=(pair.second.layer,),
    )


@at(layer_outputs)
def layer_repeated(edit: Edit, output: Output, rng: Rng) -> str:
    """The layer applied to its own result, which has the shape of its input."""
    del rng
    one, node = output.stored, output.node
    if one is None or one.maker.output != node.output:
        raise NotHere("its result is not stored")
    before, after = edit.shape(node.input[0]), edit.shape(node.output[0])
    if before is None or before != after:
        raise NotHere("its result has another shape than its input")
    reading = next((r for r in readings(edit) if r.node.output == node.output), None)
    if reading is None:
        raise NotHere("its input is not stored in integers")
    factor = edit.need(reading.parameters.scale).astype(np.float64) / one.parameters(edit)[0]
    again = _appended_copy(edit, node)
    bias = bias_of(edit, again)
    if bias is not None and bias.integers:
        if bias.scale is not None:
            edit.private(Slot(again, 2))
            bias = bias_of(edit, again)
        assert bias is not None  # noqa: S101 - the same operand
        bias.rescale(edit, factor)
    if output.real is not None:
        inner = edit.set_aside(output.real)
        parameters = [one.writer.scale.name, one.writer.zero_point.name]
        codes = edit.add("QuantizeLinear", [inner, *parameters])
        again.input[0] = edit.add("DequantizeLinear", [codes, *parameters])
        again.output[0] = output.real
    else:
        again.input[0] = edit.set_aside(one.tensor)
        again.input[1], again.input[2] = one.writer.scale.name, one.writer.zero_point.name
        again.output[0] = one.tensor
    return "applied twice"


def _appended_copy(edit: Edit, node: Any) -> Any:
    name = edit.fresh(f"{layer_name(edit, node)}_again")
    attributes = {a.name: attribute(node, a.name) for a in node.attribute}
    edit.add(node.op_type, list(node.input), name, name=name, domain=node.domain, **attributes)
    return edit.graph.node[-1]


def _like(values: Array, other: Sequence[float] | Array) -> Array:
    """``other`` rounded where ``values`` are integers, in their type."""
    result = np.asarray(other)
    return (np.rint(result) if values.dtype.kind in "iu" else result).astype(values.dtype)
