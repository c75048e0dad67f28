"""Faults of shapes and places: borders, strides, layouts, axes."""

from __future__ import annotations

import numpy as np

from gate.drill.base import Injection, NotHere
from gate.drill.disguise import hide
from gate.drill.injector import Whole, at, whole
from gate.drill.onnx_edit import Edit, attribute, set_attribute
from gate.drill.outputs import Output, layer_outputs, put_behind
from gate.drill.sites import Node, nodes
from gate.drill.stored import own_reading, readings

Rng = np.random.Generator


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
    holder = slot.node
    operands, since = list(holder.input), len(edit.graph.node)
    set_attribute(node, "pads", [0] * len(pads))
    holder.input[slot.position] = edit.add("Pad", [slot.name, amounts])
    hide(edit, holder, operands, since)
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
