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
from gate.drill.injector import at
from gate.drill.onnx_edit import Edit, Slot, attribute, layer_name
from gate.drill.outputs import Output, layer_outputs
from gate.drill.sites import Constants, Node, Weight, bias_of, nodes, weights
from gate.drill.stored import Stored, behind_layers, readings
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
