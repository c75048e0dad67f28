"""Surgery on a parsed ONNX model: operands replaced, nodes put between others, in place.

Operands are replaced by constants of their own, so that nothing else that read the old one changes.
New nodes are appended and put in order at the end (:meth:`Edit.finish`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.core.tensors import Array
from gate.drill.base import NotHere

_QUANT_SUFFIX = "_quant"  # ONNX Runtime's quantizer appends it to the names of integer nodes
_PRODUCT_SUFFIX = "_MatMul"  # and this to the product that a Gemm becomes, beside an "_Add"


@dataclass(frozen=True, slots=True)
class Slot:
    """One operand of one node."""

    node: Any
    position: int

    @property
    def name(self) -> str:
        """The tensor that stands there; empty where it is left out."""
        inputs = self.node.input
        return str(inputs[self.position]) if self.position < len(inputs) else ""


class Edit:
    """The main graph of an ``onnx.ModelProto`` while it is being changed."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.graph
        self._tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self._inline: dict[str, Any] = {
            node.output[0]: node.attribute[0].t
            for node in self.graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        self._taken = {name for node in self.graph.node for name in (*node.output, *node.input)}
        self._taken.update(self._tensors)
        self._shapes: dict[str, tuple[int | None, ...]] | None = None
        self._producers: dict[str, Any] | None = None
        self.added: list[str] = []
        """Names of the nodes that were put in."""

    @property
    def nodes(self) -> list[Any]:
        """All nodes, new ones last."""
        return list(self.graph.node)

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's outputs."""
        return [value.name for value in self.graph.output]

    @property
    def inputs(self) -> list[str]:
        """Names of the graph's inputs, constants left out."""
        return [value.name for value in self.graph.input if value.name not in self._tensors]

    def producer(self, tensor: str) -> Any | None:
        """The node that makes ``tensor``; None for inputs and constants."""
        if self._producers is None:
            self._producers = {
                name: node for node in self.graph.node for name in node.output if name
            }
        return self._producers.get(tensor)

    def readers(self, tensor: str) -> list[Slot]:
        """All operands that are ``tensor``."""
        return [
            Slot(node, position)
            for node in self.graph.node
            for position, name in enumerate(node.input)
            if name == tensor
        ]

    def value(self, name: str) -> Array | None:
        """Value of a constant; None for anything else. Do not write into it."""
        from onnx import numpy_helper

        tensor = self._tensors.get(name, self._inline.get(name))
        if tensor is None:
            return None
        found: Array = numpy_helper.to_array(tensor)
        return found

    def is_constant(self, name: str) -> bool:
        """True for initializers and constants."""
        return name in self._tensors or name in self._inline

    def is_fixed(self, name: str) -> bool:
        """True for constants and for what is made of constants alone."""
        if self.is_constant(name):
            return True
        maker = self.producer(name)
        return maker is not None and all(self.is_fixed(given) for given in maker.input if given)

    def need(self, slot: Slot) -> Array:
        """Value of a constant operand.

        Raises:
            NotHere: it is not constant.
        """
        value = self.value(slot.name)
        if value is None:
            raise NotHere(f"operand {slot.position} of {slot.node.name} is not constant")
        return value

    def put(self, slot: Slot, value: Array) -> None:
        """Give the operand a constant of its own."""
        from onnx import numpy_helper

        self.put_tensor(slot, numpy_helper.from_array(np.asarray(value, order="C"), "value"))

    def put_tensor(self, slot: Slot, tensor: Any) -> None:
        """As :meth:`put`, for element types that NumPy does not have."""
        old = slot.name
        tensor.name = self.fresh(f"{old or slot.node.name}_changed")
        self.graph.initializer.append(tensor)
        self._tensors[tensor.name] = self.graph.initializer[-1]
        while len(slot.node.input) <= slot.position:
            slot.node.input.append("")
        slot.node.input[slot.position] = tensor.name
        if old in self._tensors and not self.readers(old):
            self._drop(old)

    def _drop(self, name: str) -> None:
        index = next(i for i, t in enumerate(self.graph.initializer) if t.name == name)
        del self.graph.initializer[index]
        self._tensors = {tensor.name: tensor for tensor in self.graph.initializer}

    def constant(self, value: Array, hint: str) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = self.fresh(hint)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        self._tensors[name] = self.graph.initializer[-1]
        return name

    def fresh(self, hint: str) -> str:
        """A name that no tensor has yet."""
        name, count = hint, 1
        while name in self._taken:
            count += 1
            name = f"{hint}_{count}"
        self._taken.add(name)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node and return its output; ``domain`` may be given beside the attributes."""
        from onnx import helper

        output = output or self.fresh(f"drill_{op}")
        self._taken.add(output)
        name = attributes.pop("name", f"{output}/{op}")
        self.added.append(name)
        self._producers = None
        self.graph.node.append(
            helper.make_node(op, list(inputs), [output], name=name, **attributes)
        )
        return output

    def add_many(self, op: str, inputs: Sequence[str], count: int) -> list[str]:
        """Append a node with several outputs and return them."""
        first = self.add(op, inputs)
        node = self.graph.node[-1]
        node.output.extend(self.fresh(f"{first}_{index}") for index in range(1, count))
        self._producers = None
        return list(node.output)

    def remove(self, node: Any) -> None:
        """Take a node out, and the constants that nothing else reads; the caller has moved its readers."""
        index = next(i for i, n in enumerate(self.graph.node) if n.output == node.output)
        given = list(node.input)
        self._producers = None
        del self.graph.node[index]
        for name in given:
            if name in self._tensors and not self.readers(name):
                self._drop(name)

    def drop_unread(self) -> None:
        """Take out the constants that nothing reads."""
        read = {name for node in self.graph.node for name in _reads(node)} | set(self.outputs)
        for name in [name for name in self._tensors if name not in read]:
            self._drop(name)

    def prune(self) -> None:
        """Take out the nodes whose results nobody reads."""
        while True:
            read = {name for node in self.graph.node for name in _reads(node)}
            read.update(self.outputs)
            idle = [node for node in self.graph.node if read.isdisjoint(node.output)]
            if not idle:
                return
            self.remove(idle[0])

    def move_readers(self, old: str, new: str, *, but: Iterable[str] = ()) -> None:
        """Let everything that reads ``old`` read ``new``, except nodes that make one of ``but``."""
        kept = set(but)
        for slot in self.readers(old):
            if kept.isdisjoint(slot.node.output):
                slot.node.input[slot.position] = new

    def set_aside(self, tensor: str) -> str:
        """Rename what is made as ``tensor``, so that a new node can make it; returns the new name."""
        node = self.producer(tensor)
        if node is None:
            raise NotHere(f"{tensor} is not made by a node")
        inner = self.fresh(f"{tensor}_before")
        self._producers = None
        node.output[list(node.output).index(tensor)] = inner
        return inner

    def private(self, slot: Slot) -> Any:
        """Give the operand a copy of its own of the node that makes it, and return that copy."""
        import onnx

        maker = self.producer(slot.name)
        if maker is None:
            raise NotHere(f"{slot.name} is not made by a node")
        if len(self.readers(slot.name)) == 1 and slot.name not in self.outputs:
            return maker
        copy = onnx.NodeProto()
        copy.CopyFrom(maker)
        copy.output[0] = self.fresh(f"{slot.name}_own")
        copy.name = f"{maker.name}_own"
        slot.node.input[slot.position] = copy.output[0]
        self._producers = None
        self.graph.node.append(copy)
        return self.graph.node[-1]

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Inferred shape, None for dynamic axes; None altogether where it is not known."""
        if self._shapes is None:
            self._shapes = _inferred(self.model)
        value = self.value(tensor)
        return tuple(value.shape) if value is not None else self._shapes.get(tensor)

    def opset(self, at_least: int) -> None:
        """Raise the version of the standard operators where it is lower."""
        for entry in self.model.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = max(entry.version, at_least)

    def finish(self) -> None:
        """Put the nodes in an order in which each comes after what it reads; drop stale shapes."""
        del self.graph.value_info[:]
        nodes = [_copy(node) for node in self.graph.node]
        maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        order: list[int] = []
        done: set[int] = set()
        for first in range(len(nodes)):
            waiting = [first]
            while waiting:
                index = waiting[-1]
                needed = [maker[n] for n in _reads(nodes[index]) if n in maker]
                missing = [i for i in needed if i not in done]
                if missing and not set(missing) & set(waiting):
                    waiting += missing
                    continue
                waiting.pop()
                if index not in done:
                    done.add(index)
                    order.append(index)
        del self.graph.node[:]
        self.graph.node.extend(nodes[index] for index in order)


def layer_name(edit: Edit, node: Any) -> str:
    """Name of the layer that a node is the heart of, without what the quantizer appended."""
    name = str(node.name).removesuffix(_QUANT_SUFFIX)
    stem = name.removesuffix(_PRODUCT_SUFFIX)
    if stem != name and any(other.name == f"{stem}_Add" for other in edit.graph.node):
        return stem
    return name or f"{node.op_type}:{node.output[0]}"


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Value of an attribute."""
    from onnx import helper

    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def set_attribute(node: Any, name: str, value: Any) -> None:
    """Replace or add an attribute."""
    from onnx import helper

    for index, found in enumerate(node.attribute):
        if found.name == name:
            del node.attribute[index]
            break
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def _copy(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _reads(node: Any) -> list[str]:
    names = [name for name in node.input if name]
    for attr in node.attribute:
        for body in (*([attr.g] if attr.type == attr.GRAPH else []), *attr.graphs):
            for inner in body.node:
                names += _reads(inner)
    return names


def _inferred(model: Any) -> dict[str, tuple[int | None, ...]]:
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    inferred = onnx.shape_inference.infer_shapes(bare)
    found: dict[str, tuple[int | None, ...]] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim
            )
    return found
