"""Names in an exported ONNX graph that follow the modules it came from, and nothing that varies.

The exporter numbers its nodes (``node_Conv_38``) and keeps stack traces with the paths of the machine.
Here a node takes the path of the module whose parameters it reads (``layer1.0.conv1``), other nodes
the path of their module and their operator (``lstm/Transpose``), and every metadata entry goes.
"""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

_SCOPES = "pkg.torch.onnx.name_scopes"
_RECURRENT = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
_RECURRENT_INPUTS = {1: "W", 2: "R", 3: "B"}
"""Positions of weight, recurrence weight and bias in the ONNX operators."""


def normalise(model: Any) -> None:
    """Rename the nodes of an exported ``ModelProto`` and the weights of its recurrent operators, and
    drop all metadata, in place. Tensors keep their names otherwise."""
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    wanted = [_module_of(node, initializers) for node in graph.node]
    weighted = Counter(name for name, weights in wanted if weights)
    alone = Counter(name for name, _ in wanted)
    used: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    renamed: dict[str, str] = {}
    for node, (module, has_weights) in zip(graph.node, wanted, strict=True):
        recurrent = node.op_type in _RECURRENT
        plain = module and (
            (has_weights and weighted[module] == 1) or (not recurrent and alone[module] == 1)
        )
        if recurrent and module:
            name = module if weighted[module] == 1 else f"{module}/l{layers[module]}"
            for position, part in _RECURRENT_INPUTS.items():
                if position < len(node.input) and node.input[position] in initializers:
                    renamed[node.input[position]] = f"{module}.{part}_l{layers[module]}"
            layers[module] += 1
        else:
            name = module if plain else f"{module}/{node.op_type}" if module else node.op_type
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}#{used[name]}"
    _rename_initializers(graph, renamed)
    _drop_metadata(model)


def _module_of(node: Any, initializers: set[str]) -> tuple[str, bool]:
    """Path of the module that a node came from, and whether the node reads weights of its own."""
    scope = _scope(node)
    if node.op_type in _RECURRENT:
        # Its weights are re-ordered copies, which have lost their names.
        return scope, any(name in initializers for name in node.input)
    for name in node.input:
        if name in initializers and name.endswith(".weight"):
            return name.removesuffix(".weight"), True
    return scope, False


def _scope(node: Any) -> str:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = ast.literal_eval(entry.value)
            # The last one is the operator, the one before it the innermost module; nodes that
            # the exporter added for itself carry a marker with a leading underscore instead.
            inner = str(scopes[-2]) if len(scopes) > 1 else ""
            return "" if inner.startswith("_") else inner
    return ""


def _rename_initializers(graph: Any, renamed: dict[str, str]) -> None:
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for info in graph.value_info:
        info.name = renamed.get(info.name, info.name)
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in renamed:
                node.input[position] = renamed[name]


def _drop_metadata(model: Any) -> None:
    graph = model.graph
    holders = [
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
    ]
    for holder in holders:
        del holder.metadata_props[:]
        holder.doc_string = ""
    del model.metadata_props[:]
