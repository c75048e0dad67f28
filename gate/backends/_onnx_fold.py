"""Fold a quantized ONNX graph back to the layers it stands for.

``DequantizeLinear -> op -> QuantizeLinear`` is one layer, so is an integer product with the casts,
scales and bias that follow it; an operator of the QOperator format is one by itself. A graph without
quantization folds to its own nodes. Nodes that depend on constants or shapes alone are no layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gate.backends import _onnx_ops as ops
from gate.backends._onnx_graph import Graph, Node

_QUANT_SUFFIX = "_quant"  # ONNX Runtime's quantizer appends it to the names of integer nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor of stored integers and the constants that give it its meaning."""

    tensor: str
    scale: str
    zero_point: str | None
    axis: int | None = None
    """Channel axis, used where there is more than one scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """One layer: the node that does the work, and its surroundings folded in."""

    node: Node
    name: str
    inputs: tuple[str, ...]
    """Data operands as they are read: the stored tensor where there is one."""
    classes_in: tuple[str, ...]
    """Of the inputs: one word for all names that a value has, real and stored."""
    outputs: tuple[str, ...]
    """Outputs that somebody reads, as they are stored."""
    class_out: str
    """Of the first output."""
    stored: Stored | None
    """How the first output is stored; None where it is in floating point."""
    weights: tuple[Stored | str, ...]
    """Stored weights, and the names of those in floating point."""
    quantized: bool
    """By structure; whether the runtime has a kernel for it is another question."""


class Folder:
    """Folds one graph; :attr:`layers` in order of execution, :attr:`members` by class."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parent: dict[str, str] = {}
        self._stored: dict[str, Stored] = {}
        self._absorbed: set[str] = set()
        self._boundaries()
        folded = [self._layer(node) for node in graph.nodes if self._is_layer(node)]
        self.layers: tuple[Folded, ...] = tuple(
            layer for layer in folded if layer.node.name not in self._absorbed and layer.outputs
        )
        self.members: dict[str, list[str]] = {}
        for name in self._parent:
            self.members.setdefault(self._class(name), []).append(name)

    def stored(self, tensor: str) -> Stored | None:
        """How ``tensor`` is stored; None for one in floating point."""
        return self._stored.get(tensor)

    def value_of(self, tensor: str) -> str:
        """One word for all names that a value has, real and stored."""
        return self._class(tensor)

    def _boundaries(self) -> None:
        graph = self._graph
        for node in graph.nodes:
            if not graph.is_boundary(node):
                continue
            self._join(node.inputs[0], node.outputs[0])
            if node.op in ops.QUANTIZE:
                self._stored[node.outputs[0]] = _boundary(node, node.outputs[0])

    def _is_layer(self, node: Node) -> bool:
        return not self._graph.is_boundary(node) and any(
            name in self._graph.variable for name in node.outputs
        )

    def _layer(self, node: Node) -> Folded:
        integer = ops.INTEGER_OPS.get(node.op)
        if integer is not None:
            return self._integer_layer(node, integer)
        graph = self._graph
        reads = [name for name in node.reads if name in graph.variable]
        inputs = tuple(self._as_stored(name) for name in reads)
        weights = tuple(
            self._weight(node.inputs[position]) for position in self._weight_positions(node)
        )
        outputs = self._read_outputs(node)
        if node.op in ops.DIRECT and inputs and inputs[0] in self._stored and inputs[0] == reads[0]:
            source = self._stored[inputs[0]]
            for out in outputs:
                self._stored[out] = Stored(
                    tensor=out, scale=source.scale, zero_point=source.zero_point
                )
        outputs = tuple(self._quantized_output(out) for out in outputs)
        stored = self._stored.get(outputs[0]) if outputs else None
        integers = bool(inputs) and all(name in self._stored for name in inputs)
        return Folded(
            node=node,
            name=node.name,
            inputs=inputs,
            classes_in=tuple(self._class(name) for name in inputs),
            outputs=outputs,
            class_out=self._class(outputs[0]) if outputs else "",
            stored=stored,
            weights=weights,
            quantized=integers
            and not node.hides_compute
            and not any(isinstance(weight, str) for weight in weights)
            and (
                stored is not None
                or node.op in ops.NEEDS_NO_OUTPUT_SCALE
                or bool(outputs and self._clamped_and_stored(outputs[0]))
            ),
        )

    def _integer_layer(self, node: Node, integer: ops.IntegerOp) -> Folded:
        graph = self._graph
        operands = [node.inputs[i] for i in integer.data if i < len(node.inputs)]
        inputs = tuple(name for name in operands if name in graph.variable)
        out, scale = node.outputs[0], None
        if integer.accumulates:
            out, scale = self._scaled(node)
        elif integer.scale is not None and (given := _operand(node, integer.scale)):
            self._stored[out] = Stored(
                tensor=out, scale=given, zero_point=_operand(node, integer.zero_point)
            )
        self._class(out)  # known even where no boundary touches it
        return Folded(
            node=node,
            name=node.name.removesuffix(_QUANT_SUFFIX),
            inputs=inputs,
            classes_in=tuple(self._class(name) for name in inputs),
            outputs=(out,) if integer.accumulates else self._read_outputs(node),
            class_out=self._class(out),
            stored=self._stored.get(out),
            weights=tuple(
                self._integer_weight(node, position, scale, integer.axis)
                for position in integer.weight
                if not {_operand(node, position[0])} & graph.variable
            ),
            quantized=True,
        )

    def _scaled(self, node: Node) -> tuple[str, str | None]:
        """Follow an int32 sum to its real value: cast, scales and, where there is one, bias.

        Returns the real tensor and the constant scale of the weight.
        """
        graph, tensor, scale = self._graph, node.outputs[0], None
        for op in ("Cast", "Mul", "Add"):
            after = graph.consumers.get(tensor, [])
            if len(after) != 1 or after[0].op != op or tensor in graph.outputs:
                break
            others = [name for name in after[0].inputs if name != tensor]
            if any(name in graph.variable for name in others):
                break
            if op == "Mul":
                maker = graph.producer.get(others[0])
                candidates = maker.inputs if maker is not None else others
                scale = next((name for name in candidates if graph.is_constant(name)), None)
            self._absorbed.add(after[0].name)
            tensor = after[0].outputs[0]
        return tensor, scale

    def _integer_weight(
        self,
        node: Node,
        position: tuple[int, int | None, int | None],
        scale: str | None,
        axis: int | None,
    ) -> Stored | str:
        tensor = node.inputs[position[0]]
        found = scale if position[1] is None else _operand(node, position[1])
        if node.op == "QGemm":
            axis = 0 if node.attributes.get("transB") else 1
        if found is None:
            return tensor
        return Stored(tensor=tensor, scale=found, zero_point=_operand(node, position[2]), axis=axis)

    def _weight_positions(self, node: Node) -> Iterable[int]:
        positions = ops.FLOAT_COMPUTE.get(node.op, (0,) if node.op == ops.EMBEDDING else ())
        return (
            i
            for i in positions
            if i < len(node.inputs)
            and node.inputs[i]
            and node.inputs[i] not in self._graph.variable
        )

    def _weight(self, name: str) -> Stored | str:
        """A constant operand, followed back through its boundary nodes."""
        producer = self._graph.producer.get(name)
        if producer is None or producer.op not in ops.DEQUANTIZE:
            return name
        source = producer.inputs[0]
        before = self._graph.producer.get(source)
        if before is not None and before.op not in ops.QUANTIZE:
            return name
        return _boundary(producer, source)

    def _as_stored(self, name: str) -> str:
        """The stored tensor behind an operand, else the operand."""
        producer = self._graph.producer.get(name)
        if producer is not None and producer.op in ops.DEQUANTIZE:
            source = producer.inputs[0]
            self._stored.setdefault(source, _boundary(producer, source))
            return source
        return name

    def _quantized_output(self, name: str) -> str:
        """What becomes of an output: the stored tensor where nothing but boundaries reads it."""
        readers = self._graph.consumers.get(name, [])
        if name in self._graph.outputs or not readers:
            return name
        if all(reader.op in ops.QUANTIZE for reader in readers):
            return readers[0].outputs[0]
        return name

    def _clamped_and_stored(self, name: str) -> bool:
        """Whether an activation is all that stands between a tensor and its rounding: kernels cut
        off at the end of the stored range, and runtimes fuse over it."""
        readers = self._graph.consumers.get(name, [])
        return (
            name not in self._graph.outputs
            and len(readers) == 1
            and readers[0].op in ops.CLAMPS
            and self._quantized_output(readers[0].outputs[0]) != readers[0].outputs[0]
        )

    def _read_outputs(self, node: Node) -> tuple[str, ...]:
        graph = self._graph
        return tuple(
            name
            for name in node.outputs
            if name and (name in graph.consumers or name in graph.outputs)
        )

    def _class(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        if parent != name:
            self._parent[name] = parent = self._class(parent)
        return parent

    def _join(self, one: str, other: str) -> None:
        self._parent[self._class(other)] = self._class(one)


def _operand(node: Node, position: int | None) -> str | None:
    if position is None or position >= len(node.inputs):
        return None
    return node.inputs[position] or None


def _boundary(node: Node, tensor: str) -> Stored:
    return Stored(
        tensor=tensor,
        scale=node.inputs[1],
        zero_point=_operand(node, 2),
        axis=int(node.attributes.get("axis", 1)),
    )
