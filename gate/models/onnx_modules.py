"""Which tensors of an exported ONNX file are the outputs of which torch modules, kept in the file.

The exporter names a tensor after the value of the torch program that it is. A value that the
exporter's optimiser folded away (the convolution's own, once a batch norm has gone into its weights)
has no tensor, and its module is covered by the one that follows. So whoever compares the file with
the modules compares what is the same, and guesses nothing.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

KEY = "gate.modules"
"""Metadata entry of the model."""

_LEAF_PACKAGES = ("torch.nn.", "torch.ao.nn.")
_CONTAINER = "Sequential"


def recorded_modules(model: Any) -> dict[str, tuple[str, ...]]:
    """What :func:`record_modules` wrote into a ``ModelProto``; empty for files of another origin.

    Tensor -> the modules covered up to and with the one whose output it is, in order of execution;
    none for a value between modules.
    """
    for entry in model.metadata_props:
        if entry.key == KEY:
            return {name: tuple(covers) for name, covers in json.loads(entry.value).items()}
    return {}


def record_modules(model: Any, program: ExportedProgram) -> None:
    """Write into a ``ModelProto`` which of its tensors are module outputs of ``program``, the very
    program that it was made from. Modules are torch's own, under the names of a traced model: the
    path, and ``path#2`` for a second call."""
    covers = _Covers(model, program).by_tensor()
    model.metadata_props.add(key=KEY, value=json.dumps(covers, separators=(",", ":")))


class _Covers:
    def __init__(self, model: Any, program: ExportedProgram) -> None:
        self._program = program
        self._tensors = {name for node in model.graph.node for name in node.output}
        # Outputs are renamed when the file is written.
        (returned,) = program.graph.output_node().args
        self._renamed = dict(
            zip(returned, (value.name for value in model.graph.output), strict=True)
        )
        self._module = dict(_calls(program))
        self._members: dict[str, list[Node]] = {}
        for node, name in self._module.items():
            self._members.setdefault(name, []).append(node)

    def by_tensor(self) -> dict[str, list[str]]:
        outputs = {_output(nodes): name for name, nodes in self._members.items()}
        found = {}
        for node in self._program.graph.nodes:
            tensor = self._tensor(node) if node.op == "call_function" else None
            if tensor is not None and node in outputs:
                found[tensor] = list(dict.fromkeys(self._covered(outputs[node])))
            elif tensor is not None and node not in self._module:
                found[tensor] = []
        return found

    def _tensor(self, node: Node) -> str | None:
        name = self._renamed.get(node, node.name)
        # An output's name may be that of another value of the program.
        foreign = node not in self._renamed and name in self._renamed.values()
        return name if name in self._tensors and not foreign else None

    def _covered(self, module: str) -> Iterator[str]:
        """Modules whose outputs have no tensor, on the way to this one; and this one."""
        members = self._members[module]
        for source in dict.fromkeys(s for node in members for s in node.all_input_nodes):
            if source not in members:
                yield from self._absorbed(source)
        yield module

    def _absorbed(self, node: Node) -> Iterator[str]:
        if self._tensor(node) is not None:
            return
        if node in self._module:
            yield from self._covered(self._module[node])
            return
        for source in node.all_input_nodes:
            yield from self._absorbed(source)


def _calls(program: ExportedProgram) -> Iterator[tuple[Node, str]]:
    """Nodes inside torch's own modules, with the name of that call."""
    seen: dict[str, list[str]] = {}
    for node in program.graph.nodes:
        stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
        for key, (path, kind) in stack.items():
            if path and _is_leaf(kind):
                keys = seen.setdefault(path, [])
                if key not in keys:
                    keys.append(key)  # each call of a module has a key of its own
                number = keys.index(key) + 1
                yield node, path if number == 1 else f"{path}#{number}"
                break


def _is_leaf(kind: Any) -> bool:
    told = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return told.startswith(_LEAF_PACKAGES) and not told.endswith(f".{_CONTAINER}")


def _output(members: list[Node]) -> Node | None:
    """The first tensor that a call of a module returns; None where that cannot be told."""
    import torch

    leaving = [
        node
        for node in members
        if isinstance(node.meta.get("val"), torch.Tensor)
        and any(user not in members for user in node.users)
    ]
    items = [node for node in leaving if node.target is operator.getitem]
    if len(items) == len(leaving) and len({node.args[0] for node in items}) == 1:
        return next((node for node in items if node.args[1] == 0), None)
    return leaving[0] if len(leaving) == 1 and not items else None
