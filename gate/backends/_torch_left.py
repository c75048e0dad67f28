"""What conversion leaves in a graph that stands for no layer of the float network.

Eager fusion puts an ``Identity`` where a fused module was, eager conversion calls modules that quantize and
dequantize, and a network in 16 bits casts at its borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gate.backends._torch_graph import base_name, calls

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_STUBS = frozenset({"Quantize", "DeQuantize"})
_CASTS = frozenset({"to"})


def left_behind(reference: GraphModule, candidate: GraphModule) -> set[Node]:
    """Calls of an ``Identity`` in the place of a module that is another one in the reference."""
    theirs = dict(reference.named_modules())
    return {
        node
        for node in calls(candidate)
        if node.op == "call_module"
        and _kind(candidate, node) == "Identity"
        and type(theirs.get(str(node.target))).__name__ != "Identity"
    }


def passed_through(reference: GraphModule, candidate: GraphModule) -> set[Node]:
    """Calls whose value stands for the same reference value as their input: those left behind, those
    that quantize or dequantize, and casts where the reference has none."""
    found = left_behind(reference, candidate)
    casts = any(base_name(node.target) in _CASTS for node in calls(reference))
    for node in calls(candidate):
        stub = node.op == "call_module" and _kind(candidate, node) in _STUBS
        cast = node.op != "call_module" and base_name(node.target) in _CASTS
        if stub or (cast and not casts):
            found.add(node)
    return found


def _kind(graph: GraphModule, node: Node) -> str:
    return type(graph.get_submodule(str(node.target))).__name__
