"""Nodes that a fault puts in, hidden in a function under the name of the operator that they belong to.

Whoever reads the graph sees the operator that was there, with the operands that it had; only what it
computes is different. The runtime opens the function and sees all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gate.drill.base import NotHere
from gate.drill.onnx_edit import Edit

DOMAIN = "quantgate.drill"
_OLDEST = 15  # what bodies are written in


def hide(
    edit: Edit, node: Any, operands: Sequence[str], since: int, outputs: Sequence[str] = ()
) -> None:
    """Move the nodes appended since there were ``since`` of them, and ``node``, into one function.

    Args:
        edit: the graph.
        node: the operator that keeps its place and name.
        operands: its operands before the change, which are those of the function.
        since: number of nodes in the graph before the change.
        outputs: tensors that come out in place of the operator's own, where they are others.
    """

    helpers = list(edit.graph.node)[since:]
    inner = {name: f"in{index}" for index, name in enumerate(operands) if name}
    inner |= {name: f"out{index}" for index, name in enumerate(outputs or node.output)}
    body: list[Any] = []
    for one in (node, *helpers) if outputs else (*helpers, node):
        copy = type(one)()
        copy.CopyFrom(one)
        for index, name in enumerate(one.input):
            if name and name not in inner:
                inner[name] = f"t{len(inner)}"
                if edit.is_constant(name):
                    body.append(_constant(edit, name, inner[name]))
            copy.input[index] = inner.get(name, "")
        for index, name in enumerate(one.output):
            copy.output[index] = inner.setdefault(name, f"t{len(inner)}")
        body.append(copy)
    results = [f"out{index}" for index in range(len(node.output))]
    define(edit.model, node, [inner[name] for name in operands if name], results, body)
    for one in helpers:
        edit.remove(one)
    edit.added[:] = [name for name in edit.added if name not in {one.name for one in helpers}]
    del node.input[:]
    node.input.extend(operands)
    edit.drop_unread()


def define(
    model: Any, node: Any, inputs: Sequence[str], outputs: Sequence[str], body: Sequence[Any]
) -> None:
    """Turn ``node`` into a call of a new function that bears its operator's name."""
    from onnx import helper

    name = node.op_type
    if any(function.name == name and function.domain == DOMAIN for function in model.functions):
        raise NotHere(f"another {name} has been changed already")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    standard = versions.get("", versions.get("ai.onnx", 0))
    if standard < _OLDEST:
        raise NotHere(f"the file is of operator set {standard}, bodies of functions need {_OLDEST}")
    opsets = [helper.make_opsetid("", standard)]
    opsets += [helper.make_opsetid(d, v) for d, v in versions.items() if d == "com.microsoft"]
    attributes = [attribute.name for attribute in node.attribute]
    model.functions.append(
        helper.make_function(
            DOMAIN, name, list(inputs), list(outputs), list(body), opsets, attributes
        )
    )
    if DOMAIN not in versions:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    node.domain = DOMAIN


def _constant(edit: Edit, name: str, output: str) -> Any:
    from onnx import helper, numpy_helper

    return helper.make_node(
        "Constant", [], [output], value=numpy_helper.from_array(edit.value(name))
    )
