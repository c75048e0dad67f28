"""A layer computed as kernels without VNNI do: 16-bit sums of pairs of products that saturate.

``vpmaddubsw`` multiplies unsigned activation codes by signed weight codes and adds two neighbouring
products with signed 16-bit saturation; the rest is exact. Neighbours are input channels at one place
of the kernel. The layer's node becomes a function of the same name, so that only the numbers change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.disguise import define
from gate.drill.onnx_edit import Edit, Slot, attribute
from gate.drill.sites import Weight
from gate.drill.stored import readings

_LARGEST_SUM = 1_000_000  # elements a sample of the widest intermediate tensor


def saturate(edit: Edit, weight: Weight) -> str:
    """Replace the node that computes.

    Raises:
        NotHere: other types, groups, dilation, or too large to be written out in pairs.
    """
    reading = next((r for r in readings(edit) if r.node.output == weight.node.output), None)
    codes = edit.need(weight.codes)
    if reading is None:
        raise NotHere("its input is not stored in integers")
    zero = edit.value(reading.parameters.zero_point.name)
    if (
        codes.dtype != np.int8
        or weight.offset(edit).any()
        or (zero is not None and zero.dtype != np.uint8)
    ):
        raise NotHere("the instruction takes uint8 activations and symmetric int8 weights")
    body = _Body()
    if weight.op == "Conv":
        body.total = _convolution(edit, weight, body, codes)
    elif weight.op in ("Gemm", "MatMul") and codes.ndim == 2:
        body.total = _product(weight, body, codes)
    else:
        raise NotHere(f"{weight.op} is not written out in pairs")
    _replace(edit, weight, body, reading.parameters.scale)
    return f"sums of two products of {list(codes.shape)} weights saturate at 16 bits"


@dataclass(slots=True)
class _Body:
    """Nodes of a function; ``codes`` and ``zero`` are float tensors that its head defines."""

    nodes: list[Any] = field(default_factory=list)
    codes: str = "codes"
    zero: str = "zero"
    total: str = ""
    """The sum of the products, set when it is written."""

    def add(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, value: Array) -> str:
        from onnx import numpy_helper

        return self.add("Constant", [], value=numpy_helper.from_array(np.asarray(value, order="C")))

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def saturated(self, first: str, second: str) -> str:
        limits = [self.constant(np.array(value, np.float32)) for value in (-32768, 32767)]
        return self.add("Clip", [self.add("Add", [first, second]), *limits])


def _halves(codes: Array) -> tuple[Array, Array]:
    """Weights of the first and of the second of each pair, along axis 1; a last one is paired with 0."""
    if codes.shape[1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[:, :1])], axis=1)
    return codes[:, 0::2].astype(np.float32), codes[:, 1::2].astype(np.float32)


def _convolution(edit: Edit, weight: Weight, body: _Body, codes: Array) -> str:
    node = weight.node
    auto_pad = attribute(node, "auto_pad", b"NOTSET")
    if attribute(node, "group", 1) != 1 or codes.ndim != 4 or auto_pad not in (b"NOTSET", b""):
        raise NotHere("groups, other ranks and automatic padding are not written out in pairs")
    if any(d != 1 for d in attribute(node, "dilations", [1, 1])):
        raise NotHere("dilated kernels are not written out in pairs")
    channels, inputs, height, width = codes.shape
    shape = edit.shape(weight.node.output[0])
    area = np.prod([n or 1 for n in shape[2:]]) if shape is not None else 0
    if channels * ((inputs + 1) // 2) * area > _LARGEST_SUM or not area:
        raise NotHere("it is too large to be written out in pairs")
    strides = attribute(node, "strides", [1, 1])
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    odd = inputs % 2
    pads = body.numbers(0, 0, top, left, 0, odd, bottom, right)
    padded = body.add("Pad", [body.codes, pads, body.zero])
    total = ""
    for r in range(height):
        for s in range(width):
            ends = [-(height - 1 - r) or 2**31, -(width - 1 - s) or 2**31]
            part = body.add(
                "Slice",
                [
                    padded,
                    body.numbers(r, s),
                    body.numbers(*ends),
                    body.numbers(2, 3),
                    body.numbers(*strides),
                ],
            )
            products = [
                body.add(
                    "Mul",
                    [_every_second(body, part, start), body.constant(half[None, :, :, r, s, None])],
                )
                for start, half in enumerate(_halves(codes))
            ]
            summed = body.add("ReduceSum", [body.saturated(*products), body.numbers(2)], keepdims=0)
            total = body.add("Add", [total, summed]) if total else summed
    rows = body.add("Shape", [part], start=2)
    rows = body.add("Concat", [body.numbers(0, channels), rows], axis=0)
    total = body.add("Reshape", [total, rows])
    sums = codes.astype(np.float32).sum((1, 2, 3)).reshape(1, -1, 1, 1)
    return body.add("Sub", [total, body.add("Mul", [body.zero, body.constant(sums)])])


def _every_second(body: _Body, part: str, start: int) -> str:
    """Channels of one half, shape (samples, 1, pairs, places)."""
    half = body.add(
        "Slice", [part, body.numbers(start), body.numbers(2**31), body.numbers(1), body.numbers(2)]
    )
    flat = body.add("Reshape", [half, body.numbers(0, 0, -1)])
    return body.add("Unsqueeze", [flat, body.numbers(1)])


def _product(weight: Weight, body: _Body, codes: Array) -> str:
    if attribute(weight.node, "transA", 0) or attribute(weight.node, "alpha", 1.0) != 1.0:
        raise NotHere("transposed or scaled products are not written out in pairs")
    by_channel = np.moveaxis(codes, weight.channel_axis, 0)
    if by_channel.shape[1] % 2:
        raise NotHere("an odd number of inputs")
    if by_channel.size > 2 * _LARGEST_SUM:
        raise NotHere("it is too large to be written out in pairs")
    x = body.codes
    products = []
    for start, half in enumerate(_halves(by_channel)):
        some = body.add(
            "Slice",
            [x, body.numbers(start), body.numbers(2**31), body.numbers(-1), body.numbers(2)],
        )
        product = body.add(
            "Mul", [body.add("Unsqueeze", [some, body.numbers(-2)]), body.constant(half)]
        )
        products.append(product)
    total = body.add("ReduceSum", [body.saturated(*products), body.numbers(-1)], keepdims=0)
    sums = body.constant(by_channel.astype(np.float32).sum(1))
    return body.add("Sub", [total, body.add("Mul", [body.zero, sums])])


def _replace(edit: Edit, weight: Weight, body: _Body, scale: Slot) -> None:
    """Turn the node into a call of a function of its name, around the sum."""
    node = weight.node
    names = [f"in{i}" if name else "" for i, name in enumerate(node.input)]
    head = _Body()
    if weight.form == "qdq":
        step = head.constant(edit.need(scale))
        zero = head.constant(_zero_of(edit, scale).astype(np.float32))
        head.add("Identity", [zero], body.zero)
        codes = head.add("Round", [head.add("Div", [names[0], step])])
        head.add("Add", [codes, body.zero], body.codes)
    else:
        position = 2
        head.add("Cast", [names[0]], body.codes, to=1)
        head.add("Cast", [names[position]], body.zero, to=1)
    for made in head.nodes:
        made.output[0] = _apart(made.output[0], body)
        for i, name in enumerate(made.input):
            made.input[i] = _apart(name, body, names)
    body.nodes[:0] = head.nodes
    _tail(edit, weight, body, scale, names)
    define(edit.model, node, [name for name in names if name], ["out"], body.nodes)


def _apart(name: str, body: _Body, names: list[str] | None = None) -> str:
    known = {body.codes, body.zero, *(names or ())}
    return name if name in known else f"head_{name}"


def _zero_of(edit: Edit, scale: Slot) -> Array:
    return edit.need(Slot(scale.node, scale.position + 1))


def _tail(edit: Edit, weight: Weight, body: _Body, scale: Slot, names: list[str]) -> None:
    if weight.form == "dynamic":
        body.add("Cast", [body.total], "out", to=6)
        return
    rank = 4 if weight.op == "Conv" else 2
    shape = [1, -1, *[1] * (rank - 2)]
    unit = edit.need(weight.scale).astype(np.float64).reshape(-1) * float(
        edit.need(scale).reshape(-1)[0]
    )
    real = body.add("Mul", [body.total, body.constant(unit.reshape(shape).astype(np.float32))])
    bias = weight.bias
    if bias is not None:
        values = edit.need(bias.values).astype(np.float64)
        if bias.integers:
            values = values * unit
        real = body.add("Add", [real, body.constant(values.reshape(shape).astype(np.float32))])
    if weight.form == "qdq":
        body.add("Identity", [real], "out")
        return
    place = {"QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7}[weight.node.op_type]
    body.add("QuantizeLinear", [real, names[place], names[place + 1]], "out")
