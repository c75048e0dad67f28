"""Faults that releases of quantizers and runtimes brought: what known regressions did, again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gate import plugins
from gate.drill import floats
from gate.drill.base import Injection, NotHere, Recipe
from gate.drill.injector import Whole, at, whole
from gate.drill.onnx_edit import Edit, Slot, attribute
from gate.drill.outputs import Output, layer_outputs, put_behind
from gate.drill.sites import Node, Weight, nodes, weights
from gate.drill.stored import Stored, behind_layers, reader_names, stored
from gate.drill.weights import along_the_wrong_axis

Rng = np.random.Generator

_ERROR_AT_BATCH_1 = 0.54  # 46 % off, as reported
_ERROR_AT_EDGES = 1.25


@at(whole)
def ranges_to_integers(edit: Edit, place: Whole, rng: Rng) -> str:
    """Both ends of every observed range cut off to an integer."""
    del place, rng
    found = _all_stored(edit)
    for one in found:
        low, high = one.real_range(edit)
        one.put_range(edit, float(int(low)), float(int(high)))
    return f"{len(found)} ranges cut off to integers"


@at(whole)
def one_range_for_all(edit: Edit, place: Whole, rng: Rng) -> str:
    """Every activation stored in the range of the widest."""
    del place, rng
    found = _all_stored(edit)
    ranges = [one.real_range(edit) for one in found]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    for one, (own, _) in zip(found, ranges, strict=True):
        # A range that begins at 0 stands for an activation function, which is not at fault.
        one.put_range(edit, low if own < 0 else 0.0, high)
    return f"{len(found)} activations in {low:.3g} ... {high:.3g}"


def _all_stored(edit: Edit) -> list[Stored]:
    found = stored(edit)
    if not found:
        raise NotHere("no activation has a range in the file")
    return found


@at(lambda edit: [w for w in weights(edit) if w.op == "ConvTranspose"])
def transposed_conv_axis(edit: Edit, weight: Weight, rng: Rng) -> str:
    """Scales of a transposed convolution, whose output channels stand on another axis, misplaced."""
    del rng
    return along_the_wrong_axis(edit, weight)


@at(layer_outputs)
def dequantized_to_zeros(edit: Edit, output: Output, rng: Rng) -> str:
    """Whatever the layer makes, zeros are handed on."""
    del rng
    zero = edit.constant(np.array(0, np.float32), "drill_zero")
    put_behind(edit, output, lambda x, out: _product(edit, x, zero, out))
    return "output is zeros"


@at(layer_outputs)
def wrong_at_padded_edges(edit: Edit, output: Output, rng: Rng) -> str:
    """The outermost places of a padded convolution 25 % too large."""
    del rng
    shape = edit.shape(output.tensor)
    if not any(attribute(output.node, "pads", [])):
        raise NotHere("it pads nothing")
    if shape is None or len(shape) != 4 or shape[2] is None or shape[3] is None:
        raise NotHere("its shape is not known")
    mask = np.full((1, 1, shape[2], shape[3]), _ERROR_AT_EDGES, np.float32)
    mask[:, :, 1:-1, 1:-1] = 1
    if not (mask == 1).any():
        raise NotHere("it has edges only")
    name = edit.constant(mask, "drill_edges")
    put_behind(edit, output, lambda x, out: _product(edit, x, name, out))
    return f"edges of {shape[2]} x {shape[3]} x {_ERROR_AT_EDGES}"


@at(layer_outputs)
def wrong_at_batch_1(edit: Edit, output: Output, rng: Rng) -> str:
    """46 % off where the batch is one sample, right for any other."""
    del rng
    first = edit.constant(np.array([0], np.int64), "drill_first")
    one = edit.constant(np.array([1], np.int64), "drill_one")
    factors = [
        edit.constant(np.array(value, np.float32), "drill_factor")
        for value in (_ERROR_AT_BATCH_1, 1)
    ]
    batch = edit.add("Gather", [edit.add("Shape", [edit.inputs[0]]), first])
    factor = edit.add("Where", [edit.add("Equal", [batch, one]), *factors])
    put_behind(edit, output, lambda x, out: _product(edit, x, factor, out))
    return f"x {_ERROR_AT_BATCH_1} at batch 1"


def _product(edit: Edit, x: str, factor: str, out: str) -> None:
    edit.add("Mul", [x, factor], out)


@at(whole)
def nothing_quantized(edit: Edit, place: Whole, rng: Rng) -> str:
    """Every layer computes in floating point and hands on real values."""
    del place, rng
    names = _layers(edit)
    done = floats.all_to_float(edit, names)
    for node in [one for one in nodes(edit) if floats.can_fall_back(one.node)]:
        floats.fall_back(edit, node.node, str(node.layer))
    floats.activations_to_float(edit)
    return f"{done} layers in floating point"


@at(whole)
def borders_in_float(edit: Edit, place: Whole, rng: Rng) -> str:
    """First and last layer compute in floating point."""
    del place, rng
    names = _layers(edit)
    if len(names) < 3:
        raise NotHere("there is no layer between the first and the last")
    floats.all_to_float(edit, [names[0], names[-1]])
    return f"{names[0]} and {names[-1]} in floating point"


def _layers(edit: Edit) -> list[str]:
    names = [layer.layer for layer in floats.integer_layers(edit)]
    if not names:
        raise NotHere("no layer has stored weights")
    return names


@at(whole)
def quantized_at_load(edit: Edit, place: Whole, rng: Rng) -> str:
    """The file holds floating-point weights and the nodes that quantize them."""
    del place, rng
    done = 0
    for weight in weights(edit):
        if weight.node.op_type == "DynamicQuantizeLSTM" or not weight.zero_point:
            continue  # its kernel takes constants only
        real = weight.real(edit).astype(np.float32)
        scale, zero = edit.need(weight.scale), edit.need(weight.zero_point)
        axis: dict[str, Any] = {"axis": weight.channel_axis % real.ndim} if scale.size > 1 else {}
        shape = (-1,) if scale.size > 1 else ()
        operands = [
            edit.constant(real, f"{weight.layer}_float"),
            edit.constant(scale.reshape(shape), f"{weight.layer}_scale"),
            edit.constant(
                np.broadcast_to(zero.reshape(-1), scale.size).reshape(shape), f"{weight.layer}_zero"
            ),
        ]
        codes = edit.add("QuantizeLinear", operands, **axis)
        weight.codes.node.input[weight.codes.position] = codes
        done += 1
    if not done:
        raise NotHere("no weight could be quantized when the file is opened")
    edit.prune()
    edit.drop_unread()
    return f"{done} weights stored in floating point"


@at(behind_layers)
def rounded_twice(edit: Edit, one: Stored, rng: Rng) -> Injection:
    """Stored for a moment with a quarter of the steps."""
    del rng
    scale, _, kind = one.parameters(edit)
    # Of another type than the codes: the runtime removes a pair of the same type. 64 steps reach
    # from 0 to either end of any range.
    other = np.uint8 if kind == np.int8 else np.int8
    parameters = [
        edit.constant(np.array(4 * scale, np.float32), "drill_scale"),
        edit.constant(np.array(128 if other is np.uint8 else 0, other), "drill_zero"),
    ]
    own = [one.writer.scale.name, one.writer.zero_point.name]
    inner = edit.set_aside(one.tensor)
    fine = edit.add("DequantizeLinear", [inner, *own])
    coarse = edit.add("QuantizeLinear", [fine, *parameters])
    edit.add(
        "QuantizeLinear", [edit.add("DequantizeLinear", [coarse, *parameters]), *own], one.tensor
    )
    detail = f"rounded to steps of {4 * scale:.3g} on the way"
    return Injection(layer=one.layer, detail=detail, also=reader_names(edit, one))


def weights_in_7_bits(recipe: Recipe, rng: Rng) -> Recipe:
    """The option that reduces the range of the weights, set."""
    del rng
    known = plugins.load("quantizers", recipe.method).options_schema.get("properties", {})
    if "reduce_range" not in known or not recipe.method.startswith("onnxruntime"):
        raise NotHere(f"{recipe.method} has no weights of reduced range")
    if recipe.options.get("reduce_range"):
        raise NotHere("the range is reduced already")
    return replace(
        recipe, options={**recipe.options, "reduce_range": True}, detail="reduce_range: true"
    )


def _float_layers(edit: Edit) -> Sequence[Node]:
    return [
        one
        for one in nodes(edit)
        if one.node.op_type in ("Conv", "Gemm", "MatMul", "LSTM")
        and len(one.node.input) > 1
        and edit.is_constant(one.node.input[1])
    ]


@at(_float_layers)
def float_model_broken(edit: Edit, place: Node, rng: Rng) -> str:
    """The rows of one weight of the floating-point model shuffled."""
    slot = Slot(place.node, 1)
    weight = edit.need(slot)
    axis = 0 if place.node.op_type != "LSTM" else 1
    edit.put(slot, np.take(weight, rng.permutation(weight.shape[axis]), axis=axis))
    return f"{weight.shape[axis]} rows of its weight shuffled"
