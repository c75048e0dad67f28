"""Faults of stored weights: scales, axes, channels, signs, bits, biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.injector import at
from gate.drill.onnx_edit import Edit, attribute, set_attribute
from gate.drill.sites import Constants, Weight, weights
from gate.drill.torch_state import state_weights

Rng = np.random.Generator


@at(weights, state_weights)
def scale_x1_05(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Weights dequantized with a scale that is 5 % too large."""
    del rng
    weight.put_scale(edit, edit.need(weight.scale) * 1.05)
    return "scale x 1.05"


@at(weights, state_weights)
def scales_shuffled(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Scales a channel in another order."""
    scale = _per_channel(edit, weight)
    order = rng.permutation(scale.size)
    if np.array_equal(scale.reshape(-1)[order], scale.reshape(-1)):
        raise NotHere("its scales are all the same")
    weight.put_scale(edit, scale.reshape(-1)[order])
    return f"{scale.size} scales shuffled"


@at(weights, state_weights)
def scale_of_one_channel(edit: Constants, weight: Weight, rng: Rng) -> str:
    """One output channel half as large; by its codes where there is one scale for all."""
    channel = _living_channel(edit, weight, rng)
    if weight.per_channel(edit):
        scale = edit.need(weight.scale).copy()
        flat = scale.reshape(-1)
        before = float(flat[channel])
        flat[channel] = before / 2
        weight.put_scale(edit, flat)
        return f"scale of channel {channel}: {before:.3g} -> {before / 2:.3g}"
    codes, offset = _centred(edit, weight)
    _channel(weight, codes, channel)[...] = np.rint(_channel(weight, codes, channel) / 2)
    weight.put_codes(edit, codes + offset)
    return f"codes of channel {channel} halved"


@at(weights, state_weights)
def wrong_axis(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Scales multiplied along the input channels, then stored as they should be."""
    del rng
    return along_the_wrong_axis(edit, weight)


def along_the_wrong_axis(edit: Constants, weight: Weight) -> str:
    """Multiply the scales a channel along the input channels, and store the result healthily.

    Raises:
        NotHere: one scale for all, or not as many inputs as outputs.
    """
    scale = _square(edit, weight)
    codes, _ = _centred(edit, weight)
    shape = [1] * codes.ndim
    shape[weight.input_axis] = scale.size
    weight.requantize(edit, codes * scale.reshape(shape).astype(np.float64))
    return f"{scale.size} scales along axis {weight.input_axis % codes.ndim}"


@at(weights, state_weights)
def wrong_axis_in_the_file(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The file says that the scales go along the input channels."""
    del rng
    if weight.form != "qdq":
        raise NotHere(f"form {weight.form} has no axis in the file")
    _square(edit, weight)
    axis = weight.input_axis % edit.need(weight.codes).ndim
    before = attribute(weight.scale.node, "axis", 1)
    set_attribute(weight.scale.node, "axis", axis)
    return f"axis {before} -> {axis}"


@at(weights, state_weights)
def channel_zeroed(edit: Constants, weight: Weight, rng: Rng) -> str:
    """All weights of one output channel lost."""
    channel = _living_channel(edit, weight, rng)
    codes, offset = _centred(edit, weight)
    _channel(weight, codes, channel)[...] = 0
    weight.put_codes(edit, codes + offset)
    return f"channel {channel} zeroed"


@at(weights, state_weights)
def channel_negated(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The sign of one output channel flipped."""
    channel = _living_channel(edit, weight, rng)
    codes, offset = _centred(edit, weight)
    _channel(weight, codes, channel)[...] *= -1
    weight.put_codes(edit, codes + offset)
    return f"sign of channel {channel} flipped"


@at(weights, state_weights)
def channels_swapped(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Two output channels exchanged, with their scales, without their biases."""
    real = weight.real(edit)
    first = _living_channel(edit, weight, rng)
    second = int(rng.choice([c for c in range(weight.channels(edit)) if c != first] or [first]))
    if first == second:
        raise NotHere("there is one channel only")
    order = np.arange(weight.channels(edit))
    order[[first, second]] = second, first
    codes = edit.need(weight.codes)
    if np.array_equal(np.take(real, order, axis=weight.channel_axis), real):
        raise NotHere(f"channels {first} and {second} are the same")
    weight.put_codes(edit, np.take(codes, order, axis=weight.channel_axis))
    if weight.per_channel(edit):
        weight.put_scale(edit, edit.need(weight.scale).reshape(-1)[order])
    return f"channels {first} and {second} exchanged"


@at(weights, state_weights)
def gates_reordered(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Second and third gate exchanged: torch keeps them as i f g o, ONNX as i o f c."""
    del rng
    if weight.op != "LSTM":
        raise NotHere("it has no gates")
    blocks = np.arange(weight.channels(edit)).reshape(4, -1)
    order = blocks[[0, 2, 1, 3]].reshape(-1)
    weight.put_codes(edit, np.take(edit.need(weight.codes), order, axis=weight.channel_axis))
    if weight.per_channel(edit):
        weight.put_scale(edit, edit.need(weight.scale).reshape(-1)[order])
    return "second and third gate exchanged"


@at(weights, state_weights)
def weight_transposed(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Input and output channels exchanged where there are as many."""
    del rng
    codes = edit.need(weight.codes)
    if codes.shape[weight.channel_axis] != codes.shape[weight.input_axis]:
        raise NotHere(f"its weight of shape {list(codes.shape)} is not square")
    if codes.shape[weight.channel_axis] == 1:
        raise NotHere("it has one channel")
    weight.put_codes(edit, np.swapaxes(codes, weight.channel_axis, weight.input_axis))
    return f"weight of shape {list(codes.shape)} transposed"


@at(weights, state_weights)
def kernel_flipped(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Kernels mirrored along all their axes."""
    del rng
    codes = edit.need(weight.codes)
    if weight.op not in ("Conv", "ConvTranspose") or max(codes.shape[2:], default=1) == 1:
        raise NotHere("it has no kernel wider than one")
    weight.put_codes(edit, np.flip(codes, axis=tuple(range(2, codes.ndim))))
    return f"kernel of {' x '.join(map(str, codes.shape[2:]))} mirrored"


@at(weights, state_weights)
def int4(edit: Constants, weight: Weight, rng: Rng) -> str:
    """Weights in four bits: as such where the form allows it, else as codes of -7 to 7."""
    del rng
    codes, offset = _centred(edit, weight)
    coarse, factor = np.rint(codes * 7 / 127), 127 / 7
    weight.put_scale(edit, edit.need(weight.scale) * factor)
    if isinstance(edit, Edit) and weight.form == "qdq" and not offset.any():
        _store_int4(edit, weight, coarse)
        return "int8 -> int4"
    weight.put_codes(edit, coarse + offset)
    weight.rescale_bias(edit, np.array([1 / factor]))
    return "codes of 4 bits"


@at(weights, state_weights)
def per_tensor(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The largest scale for all channels."""
    del rng
    scale = _per_channel(edit, weight).astype(np.float64)
    real, largest = weight.real(edit), scale.max()
    offset = weight.along_channels(edit, weight.offset(edit))
    weight.put_codes(edit, real / largest + offset)
    weight.put_scale(edit, np.full_like(scale, largest))
    weight.rescale_bias(edit, scale / largest)
    return f"scales of {scale.min():.3g} to {largest:.3g} -> {largest:.3g}"


@at(weights, state_weights)
def bias_dropped(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The bias set to zero."""
    del rng
    values = _bias(edit, weight)
    edit.put(_bias_slot(weight), np.zeros_like(values))
    return f"bias of {values.size} values dropped"


@at(weights, state_weights)
def bias_scaled(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The bias twice as large: stored for an input scale half as large."""
    del rng
    values = _bias(edit, weight)
    edit.put(_bias_slot(weight), values * values.dtype.type(2))
    return "bias x 2"


@at(weights, state_weights)
def weight_zero_point_off(edit: Constants, weight: Weight, rng: Rng) -> str:
    """The weight read as if its zero point were one higher: every code is one too low.

    Stored in the codes: some kernels refuse int8 weights with a zero point.
    """
    del rng
    weight.put_codes(edit, edit.need(weight.codes).astype(np.int64) - 1)
    return "zero point + 1"


@at(weights, state_weights)
def weight_scale_nan(edit: Constants, weight: Weight, rng: Rng) -> str:
    """One scale is NaN; integer kernels turn that into any number."""
    del rng
    scale = edit.need(weight.scale).copy()
    scale.reshape(-1)[:1] = np.nan
    weight.put_scale(edit, scale)
    return "scale of channel 0 is NaN"


def _per_channel(edit: Constants, weight: Weight) -> Array:
    if not weight.per_channel(edit):
        raise NotHere("one scale for the whole weight")
    return edit.need(weight.scale)


def _square(edit: Constants, weight: Weight) -> Array:
    """Scales a channel of a weight with as many inputs as outputs, not all the same."""
    scale, codes = _per_channel(edit, weight), edit.need(weight.codes)
    if codes.shape[weight.input_axis] != scale.size:
        raise NotHere(f"its weight of shape {list(codes.shape)} is not square")
    return scale


def _centred(edit: Constants, weight: Weight) -> tuple[Array, Array]:
    """Codes less their zero points, int64 and the caller's own; and the zero points."""
    offset = weight.along_channels(edit, weight.offset(edit))
    return edit.need(weight.codes).astype(np.int64) - offset, offset


def _channel(weight: Weight, codes: Array, channel: int) -> Any:
    """View of one output channel."""
    return np.moveaxis(codes, weight.channel_axis, 0)[channel]


def _living_channel(edit: Constants, weight: Weight, rng: Rng) -> int:
    """An output channel whose weights are not small beside the others'."""
    real = np.abs(np.moveaxis(weight.real(edit), weight.channel_axis, 0))
    size = real.reshape(len(real), -1).max(1)
    living = np.flatnonzero(size >= 0.25 * size.max())
    if not size.max() > 0:
        raise NotHere("its weights are all zero")
    return int(rng.choice(living))


def _bias_slot(weight: Weight) -> Any:
    if weight.bias is None:
        raise NotHere("it has no bias")
    return weight.bias.values


def _bias(edit: Constants, weight: Weight) -> Array:
    values = edit.need(_bias_slot(weight))
    if not values.any():
        raise NotHere("its bias is zero")
    return values


def _store_int4(edit: Edit, weight: Weight, codes: Array) -> None:
    from onnx import TensorProto, helper

    def tensor(values: Array) -> Any:
        return helper.make_tensor(
            "value", TensorProto.INT4, values.shape, values.astype(int).ravel().tolist()
        )

    zero_point = weight.zero_point
    edit.put_tensor(weight.codes, tensor(codes))
    if zero_point is not None:
        edit.put_tensor(zero_point, tensor(np.zeros(edit.need(weight.scale).shape)))
    edit.opset(21)
