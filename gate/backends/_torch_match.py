"""Which calls of the float graph does each call of a quantized graph stand for?

Conversion by torch.ao keeps the path of a fused module's head (``conv1`` for conv + BN + ReLU) and
drops the rest, renames functional operators (``add`` becomes ``quantized::add_relu``) and puts
quantize and dequantize calls between them. An exported graph spells modules out in operators, each with
the path of the module that it was in. So both graphs are walked together: a call's head is the float
call of the same module, or the float call of the same operator on the same, already matched, inputs;
then the chain of single consumers is followed over what the conversion absorbed. Nothing is guessed:
a call that fits nowhere stays unmatched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import is_boundary
from gate.backends._torch_graph import base_name, calls, is_overload, scope_of
from gate.backends._torch_left import passed_through

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_TRANSPARENT = frozenset({"quantize_per_tensor", "quantize_per_channel", "dequantize"})
_FUSED_SUFFIXES = ("_relu",)
_RELUS = frozenset({"relu", "relu_"})
_ABSORBS_NORM = ("Conv", "Linear")
_ABSORBING = ("conv", "linear")


def match_graphs(reference: GraphModule, candidate: GraphModule) -> dict[Node, tuple[Node, ...]]:
    """Candidate call -> the reference calls that it stands for, in order of execution."""
    return _Matcher(reference, candidate).match()


class _Matcher:
    def __init__(self, reference: GraphModule, candidate: GraphModule) -> None:
        self._reference = reference
        self._candidate = candidate
        self._calls = calls(reference)
        called = Counter(n.target for n in self._calls if n.op == "call_module")
        self._passed = passed_through(reference, candidate)
        places = Counter(
            node.target if node.op == "call_module" else scope_of(node)
            for node in calls(candidate)
            if not is_boundary(node) and node not in self._passed
        )
        self._kept = set(places)
        # Modules that an exported graph spells out in one operator for each time they are called.
        self._spelt_out = {place for place, times in places.items() if times == called[place]}
        self._free = dict.fromkeys(self._calls)
        self._value: dict[Node, Node] = {}
        """Candidate node -> the reference node whose value it carries."""

    def match(self) -> dict[Node, tuple[Node, ...]]:
        theirs = [n for n in self._reference.graph.nodes if n.op == "placeholder"]
        ours = [n for n in self._candidate.graph.nodes if n.op == "placeholder"]
        self._value.update(zip(ours, theirs, strict=False))
        found = {}
        for node in calls(self._candidate):
            if (
                node in self._passed
                or is_boundary(node)
                or (node.op != "call_module" and base_name(node.target) in _TRANSPARENT)
            ):
                self._pass_through(node)
                continue
            head = self._head(node)
            if head is None:
                continue
            chain = self._chain(node, head)
            for covered in chain:
                self._free.pop(covered, None)
            self._value[node] = chain[-1]
            found[node] = chain
        return found

    def _pass_through(self, node: Node) -> None:
        source = next((n for n in node.all_input_nodes if n in self._value), None)
        if source is not None:
            self._value[node] = self._value[source]

    def _head(self, node: Node) -> Node | None:
        place = node.target if node.op == "call_module" else scope_of(node)
        if node.op == "call_module" or place in self._spelt_out:
            found = (n for n in self._free if n.op == "call_module" and n.target == place)
            return next(found, None)
        wanted = base_name(node.target)
        inputs = [self._value[n] for n in node.all_input_nodes if n in self._value]
        for suffix in ("", *_FUSED_SUFFIXES):
            bare = wanted.removesuffix(suffix)
            for other in self._free:
                if (
                    other.op != "call_module"
                    and base_name(other.target) == bare
                    and _data_inputs(other) == inputs
                ):
                    return other
        return None

    def _chain(self, node: Node, head: Node) -> tuple[Node, ...]:
        chain = [head]
        relu_wanted = self._fuses_relu(node) and not self._is_relu(head)
        for following in _single_consumers(head):
            if following not in self._free or self._place(following) in self._kept:
                break
            if self._is_identity(following):
                chain.append(following)  # of a FloatFunctional, which conversion takes as one
                continue
            if self._is_relu(following):
                if relu_wanted:
                    chain.append(following)
                break
            if not (self._is_norm(following) and self._absorbs_norm(head)):
                break
            chain.append(following)
        return tuple(chain)

    def _fuses_relu(self, node: Node) -> bool:
        if node.op == "call_module":
            return "ReLU" in type(self._candidate.get_submodule(str(node.target))).__name__
        return base_name(node.target).endswith(_FUSED_SUFFIXES)

    def _is_relu(self, node: Node) -> bool:
        if node.op == "call_module":
            return self._kind(node) == "ReLU"
        return base_name(node.target) in _RELUS

    def _is_identity(self, node: Node) -> bool:
        return node.op == "call_module" and self._kind(node) == "Identity"

    def _is_norm(self, node: Node) -> bool:
        if node.op == "call_module":
            return self._kind(node).startswith("BatchNorm")
        return is_overload(node.target) and base_name(node.target) == "batch_norm"

    def _absorbs_norm(self, node: Node) -> bool:
        if node.op == "call_module":
            return self._kind(node).startswith(_ABSORBS_NORM)
        return is_overload(node.target) and base_name(node.target).startswith(_ABSORBING)

    @staticmethod
    def _place(node: Node) -> Any:
        """The module that is called, or around an operator of an exported graph; else the function."""
        return scope_of(node) if is_overload(node.target) else node.target

    def _kind(self, node: Node) -> str:
        return type(self._reference.get_submodule(str(node.target))).__name__


def _data_inputs(node: Node) -> list[Any]:
    return [n for n in node.all_input_nodes if n.op != "get_attr"]


def _single_consumers(node: Node) -> Iterator[Node]:
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.op == "output":
            return
        yield node
