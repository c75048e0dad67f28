"""A torch model as an FX graph: tracing, and stable unique names for what it calls."""

from __future__ import annotations

import operator
from collections import Counter
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import is_boundary

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

_UNNAMED = frozenset({"_guards_fn"})
"""Modules that an exported program adds to check its inputs."""


def graph_of(module: nn.Module) -> GraphModule | None:
    """The module as an FX graph over the same submodules; None where it cannot be traced.

    Leaves are torch's own modules (``nn.LSTM``, quantized ones), as in torch.ao, so that a module
    and its eager-quantized twin get the same graph.
    """
    from torch import fx

    if isinstance(module, fx.GraphModule):
        return module
    # The tracer runs the model's own code with stand-ins for tensors: whatever that code raises
    # means that it cannot be traced, and is observed with hooks instead.
    try:
        graph = fx.Tracer().trace(module)
        return fx.GraphModule(module, graph)
    except Exception:  # noqa: BLE001 - see above
        return None


def calls(graph: GraphModule) -> list[Node]:
    """The nodes that call something, in order of execution."""
    return [
        node
        for node in graph.graph.nodes
        if node.op in ("call_module", "call_function", "call_method")
        and node.target not in _UNNAMED
    ]


def call_names(graph: GraphModule) -> dict[Node, str]:
    """Unique names: the module's path, or the path of the module around it and the operator
    (``layer1.0.add``). A further call of the same takes ``#2``, ``#3`` ...

    In exported graphs every module is spelt out in operators; an operator alone in its module takes
    the module's path. Quantize and dequantize calls of such graphs get no name: they are no layers.
    """
    nodes = [node for node in calls(graph) if not is_boundary(node)]
    alone = Counter(scope_of(node) for node in nodes if is_overload(node.target))
    used: Counter[str] = Counter()
    names = {}
    for node in nodes:
        scope = scope_of(node)
        if node.op == "call_module":
            name = str(node.target)
        elif is_overload(node.target) and scope and alone[scope] == 1:
            name = scope
        else:
            name = f"{scope}.{base_name(node.target)}" if scope else base_name(node.target)
        used[name] += 1
        names[node] = name if used[name] == 1 else f"{name}#{used[name]}"
    return names


def operator_name(target: Any) -> str:
    """Function as the runtime names it: ``quantized::add_relu``, ``conv2d``, ``flatten``."""
    if isinstance(target, str):
        return target
    schema = getattr(target, "_schema", None)
    qualified = getattr(target, "_qualified_op_name", None) or (schema.name if schema else None)
    if qualified is None:
        return str(getattr(target, "__name__", target)).strip("_")
    return str(qualified).removeprefix("aten::")


def base_name(target: Any) -> str:
    """Operator without its namespace, the same for the function, the method and the in-place form."""
    name = operator_name(target).rsplit("::", 1)[-1].strip("_")
    return _SAME.get(name, name)


def is_item_access(target: Any) -> bool:
    """True for ``value[index]``, which takes an element of a tuple without computing anything."""
    return target is operator.getitem


_SAME = {"iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv"}


def scope_of(node: Node) -> str:
    """Path of the module around a call; empty for the network itself and where it is not known."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    return str(list(stack.values())[-1][0])


def is_overload(target: Any) -> bool:
    """True for an operator as exported graphs call it."""
    import torch

    return isinstance(target, torch._ops.OpOverload)
