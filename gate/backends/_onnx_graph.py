"""An ONNX graph as plain records: nodes, who makes and who reads a tensor, constants, data flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gate.backends import _onnx_ops as ops
from gate.core.tensors import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the main graph."""

    index: int
    """Place in the file, which is a topological order."""
    name: str
    """Unique: the file's name, or made from operator and output where that is empty or taken."""
    op: str
    inputs: tuple[str, ...]
    """An empty string stands for an operand left out."""
    outer: tuple[str, ...]
    """Tensors of the main graph that only the node's subgraphs read."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """Integers and strings alone."""
    hides_compute: bool
    """True where a subgraph or local function holds arithmetic that a quantizer should take to integers."""

    @property
    def reads(self) -> tuple[str, ...]:
        """All tensors that the node needs."""
        return tuple(name for name in (*self.inputs, *self.outer) if name)


class Graph:
    """Main graph of a parsed model; weights are read only when asked for."""

    def __init__(self, model: Any, folder: Path) -> None:
        self._folder = folder
        self._initializers: dict[str, Any] = {t.name: t for t in model.graph.initializer}
        self.nodes: list[Node] = []
        functions = {
            (f.domain, f.name): any(ops.computes(n.op_type) for n in f.node)
            for f in model.functions
        }
        taken: set[str] = set()
        for proto in model.graph.node:
            if proto.op_type == "Constant" and (tensor := _constant(proto)) is not None:
                self._initializers[proto.output[0]] = tensor
                continue
            node = _node(proto, len(self.nodes), taken, functions)
            taken.add(node.name)
            self.nodes.append(node)
        self._half_inputs = {
            value.name
            for value in model.graph.input
            if value.type.tensor_type.elem_type in ops.HALF_TYPES
        }
        self.inputs = tuple(i.name for i in model.graph.input if i.name not in self._initializers)
        self.outputs = tuple(o.name for o in model.graph.output)
        self.producer = {out: node for node in self.nodes for out in node.outputs if out}
        self.consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.reads):
                self.consumers.setdefault(name, []).append(node)

    @cached_property
    def variable(self) -> frozenset[str]:
        """Tensors whose values depend on the values of the graph's inputs (not on shapes alone).

        Scales and zero points that are found at run time count as parameters, not as data.
        """
        found = set(self.inputs)
        for node in self.nodes:
            values = node.inputs[:1] if node.op in ops.FIRST_ONLY else node.reads
            if node.op not in ops.SHAPE_ONLY and not found.isdisjoint(values):
                dynamic = node.op in ops.DYNAMIC_QUANTIZE
                found.update(node.outputs[:1] if dynamic else filter(None, node.outputs))
        return frozenset(found)

    @cached_property
    def half(self) -> frozenset[str]:
        """Tensors of 16 bits of floating point, as far as casts and constants decide it."""
        found = {name for name in self._initializers if self.dtype(name) in ops.HALF}
        found |= self._half_inputs
        for node in self.nodes:
            to = int(node.attributes.get("to", 0)) if node.op == "Cast" else 0
            inherits = node.op not in ops.OTHER_TYPE and not found.isdisjoint(node.inputs)
            if to in ops.HALF_TYPES or (not to and inherits):
                found.update(filter(None, node.outputs))
        return frozenset(found)

    def is_boundary(self, node: Node) -> bool:
        """True between two ways of storing the same values: quantization and its inverse, and casts
        between floating-point types of 32 and 16 bits."""
        if node.op != "Cast":
            return node.op in ops.BOUNDARY
        to = int(node.attributes.get("to", 0))
        return to in ops.HALF_TYPES or (to == ops.FLOAT_TYPE and node.inputs[0] in self.half)

    def is_constant(self, name: str) -> bool:
        """True for initializers and constants."""
        return name in self._initializers

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the initializers and constants."""
        return tuple(self._initializers)

    def dims(self, name: str) -> tuple[int, ...]:
        """Shape of a constant."""
        return tuple(self._initializers[name].dims)

    def dtype(self, name: str) -> str:
        """Element type of a constant, NumPy-style."""
        return element_type(self._initializers[name].data_type)

    def value(self, name: str) -> Array | None:
        """Value of a constant; None for anything else."""
        from onnx import numpy_helper

        tensor = self._initializers.get(name)
        if tensor is None:
            return None
        value: Array = numpy_helper.to_array(tensor, base_dir=str(self._folder))
        return value

    def constant(self, name: str) -> Any:
        """``TensorProto`` of a constant, under its own name; None for anything else."""
        from onnx import TensorProto

        tensor = self._initializers.get(name)
        if tensor is None or tensor.name == name:
            return tensor
        named = TensorProto()
        named.CopyFrom(tensor)
        named.name = name
        return named

    def constant_bytes(self) -> int:
        """Bytes of all constants of the main graph."""
        return sum(_tensor_bytes(tensor) for tensor in self._initializers.values())


def element_type(code: int) -> str:
    """NumPy-style name of an ONNX element type."""
    from onnx import TensorProto

    name = str(TensorProto.DataType.Name(code)).lower()
    return {"float": "float32", "double": "float64", "string": "str"}.get(name, name)


def _tensor_bytes(tensor: Any) -> int:
    from math import prod

    from onnx import helper

    name = element_type(tensor.data_type)
    elements = int(prod(tensor.dims))
    if name in ("int4", "uint4", "float4e2m1"):
        return (elements + 1) // 2
    return elements * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _constant(proto: Any) -> Any:
    """Tensor of a ``Constant`` node; None for its rarer forms, which stay nodes."""
    import numpy as np
    from onnx import numpy_helper

    attribute = proto.attribute[0]
    if attribute.name == "value":
        return attribute.t
    plain = {
        "value_int": lambda: np.int64(attribute.i),
        "value_ints": lambda: np.array(attribute.ints, dtype=np.int64),
        "value_float": lambda: np.float32(attribute.f),
        "value_floats": lambda: np.array(attribute.floats, dtype=np.float32),
    }.get(attribute.name)
    return None if plain is None else numpy_helper.from_array(np.asarray(plain()))


def _node(
    proto: Any, index: int, taken: set[str], functions: Mapping[tuple[str, str], bool]
) -> Node:
    outputs = tuple(proto.output)
    first = next(filter(None, outputs), str(index))
    name = proto.name or f"{proto.op_type}:{first}"
    if name in taken:
        name = f"{name}:{first}"
    bodies = list(_subgraphs(proto))
    return Node(
        index=index,
        name=name,
        op=proto.op_type,
        inputs=tuple(proto.input),
        outer=tuple(sorted({name for body in bodies for name in _outer_names(body)})),
        outputs=outputs,
        attributes={
            a.name: a.i if a.type == a.INT else a.s.decode(errors="replace")
            for a in proto.attribute
            if a.type in (a.INT, a.STRING)
        },
        hides_compute=functions.get((proto.domain, proto.op_type), False)
        or any(_computes_inside(body) for body in bodies),
    )


def _subgraphs(proto: Any) -> Iterator[Any]:
    for attribute in proto.attribute:
        if attribute.type == attribute.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _outer_names(body: Any) -> Iterable[str]:
    inside = {t.name for t in body.initializer} | {i.name for i in body.input}
    inside.update(out for node in body.node for out in node.output)
    read = {name for node in body.node for name in node.input if name}
    read.update(o.name for o in body.output)
    for node in body.node:
        for nested in _subgraphs(node):
            read.update(_outer_names(nested))
    return read - inside


def _computes_inside(body: Any) -> bool:
    return any(
        ops.computes(node.op_type) or any(map(_computes_inside, _subgraphs(node)))
        for node in body.node
    )
