"""What computing layers hand on, and nodes put behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gate.backends import _onnx_ops as ops
from gate.drill.onnx_edit import Edit, layer_name
from gate.drill.stored import Stored, behind_layers

Build = Callable[[str, str], None]
"""Appends nodes from a real tensor (first name) to one of the second name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The result of one computing layer."""

    layer: str
    node: Any
    real: str | None
    """The real tensor; None where there are stored integers alone."""
    stored: Stored | None
    """How it is stored; None where the next layer reads it in floating point."""

    @property
    def tensor(self) -> str:
        """The tensor whose shape is the output's."""
        if self.real is not None:
            return self.real
        assert self.stored is not None  # noqa: S101 - one of the two is there
        return self.stored.tensor


def layer_outputs(edit: Edit) -> list[Output]:
    """Results of all layers that compute, in order of the file."""
    kept = {one.maker.output[0]: one for one in behind_layers(edit)}
    found = []
    for node in edit.nodes:
        if not ops.computes(node.op_type):
            continue
        integer = ops.INTEGER_OPS.get(node.op_type)
        one = kept.get(node.output[0])
        real: str | None = None
        if integer is None or integer.scale is None:
            real = _real_result(edit, node)
        elif one is None:
            continue
        found.append(Output(layer=layer_name(edit, node), node=node, real=real, stored=one))
    return found


def _real_result(edit: Edit, node: Any) -> str:
    """The real value of a layer: behind cast, scale and bias where the node gives an int32 sum, and
    of several outputs the first that is read."""
    names = [n for n in node.output if n and (edit.readers(n) or n in edit.outputs)]
    tensor = str(names[0] if names else node.output[0])
    integer = ops.INTEGER_OPS.get(node.op_type)
    if integer is None or not integer.accumulates:
        return tensor
    for op in ("Cast", "Mul", "Add"):
        after = edit.readers(tensor)
        if len(after) != 1 or after[0].node.op_type != op or tensor in edit.outputs:
            break
        if op == "Add" and not edit.is_fixed(after[0].node.input[1 - after[0].position]):
            break
        tensor = str(after[0].node.output[0])
    return tensor


def put_behind(edit: Edit, output: Output, build: Build) -> None:
    """Let the layer's result go through the nodes of ``build`` before anything reads it.

    Where it is stored, it is stored before them as well, so that the layer stays in integers.
    """
    one = output.stored
    if one is None:
        assert output.real is not None  # noqa: S101 - of what is not stored
        build(edit.set_aside(output.real), output.real)
        return
    parameters = [one.writer.scale.name, one.writer.zero_point.name]
    if output.real is not None:
        inner = edit.set_aside(output.real)
        codes = edit.add("QuantizeLinear", [inner, *parameters])
        build(edit.add("DequantizeLinear", [codes, *parameters]), output.real)
        return
    inner = edit.set_aside(one.tensor)
    after = edit.fresh("drill_real")
    build(edit.add("DequantizeLinear", [inner, *parameters]), after)
    edit.add("QuantizeLinear", [after, *parameters], one.tensor)
