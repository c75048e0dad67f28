"""Layers of a LiteRT graph: its operators without shape arithmetic and unpacked constants, described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from gate.backends import _litert_ops as ops
from gate.core.layer import LayerRow, QParams, TensorInfo
from gate.models.tflite_graph import Operator, Tensor, TfliteGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator that is a layer."""

    operator: Operator
    name: str
    data: tuple[int, ...]
    """Operands that are no constants, in order."""
    weights: tuple[int, ...]
    """Operands that hold its weights, as they enter the operator."""

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.operator.op

    @property
    def output(self) -> int:
        """Its first output."""
        return self.operator.outputs[0]

    @property
    def computes(self) -> bool:
        """Whether a quantizer is expected to take it to integers."""
        return self.op in ops.COMPUTE

    @property
    def boundary(self) -> bool:
        """Whether it only quantizes or dequantizes."""
        return self.op in ops.BOUNDARY


class Layers:
    """All layers of a graph in order of execution.

    Left out is what gives a constant (a stored weight on its way to floating point) and what depends
    on the shapes of tensors alone.
    """

    def __init__(self, graph: TfliteGraph) -> None:
        self.graph = graph
        self._maker = {out: op for op in graph.operators for out in op.outputs}
        self._fixed: dict[int, int] = {}
        """Tensor that is a constant -> the stored constant it comes from."""
        self.unpacking: dict[int, Operator] = {}
        """Tensor that is a constant -> the operator that unpacks it."""
        shapes: set[int] = set()
        found: list[Layer] = []
        taken: dict[str, int] = {}
        for op in graph.operators:
            operands = [index for index in op.inputs if index >= 0]
            roots = [self.root(index) for index in operands]
            if op.op in ops.BOUNDARY | {"DENSIFY"} and roots and roots[0] is not None:
                self._fixed[op.outputs[0]] = roots[0]
                self.unpacking[op.outputs[0]] = op
                continue
            data = [
                index
                for index, root in zip(operands, roots, strict=True)
                if root is None and not graph.tensors[index].variable
            ]
            if op.op in ops.SHAPE_ONLY or (data and shapes.issuperset(data)):
                shapes.update(op.outputs)
                continue
            if op.outputs:
                found.append(self._layer(op, tuple(i for i in data if i not in shapes), taken))
        self.all = tuple(found)
        self.shape_arithmetic = frozenset(shapes)

    def root(self, tensor: int) -> int | None:
        """The stored constant behind a tensor; None where it is none."""
        return tensor if self.graph.tensors[tensor].constant else self._fixed.get(tensor)

    def maker(self, tensor: int) -> Operator | None:
        """The operator that gives a tensor."""
        return self._maker.get(tensor)

    def _layer(self, op: Operator, data: tuple[int, ...], taken: dict[str, int]) -> Layer:
        known = ops.COMPUTE.get(op.op)
        places = known.weights if known else ()
        weights = tuple(
            op.inputs[place]
            for place in places
            if place < len(op.inputs)
            and op.inputs[place] >= 0
            and self.root(op.inputs[place]) is not None
        )
        if op.op in ("GATHER", "EMBEDDING_LOOKUP"):  # tables of parameters, where they are constant
            weights = tuple(
                i for i in op.inputs if self.root(i) is not None and self._floating(self.root(i))
            )
        # Converters join the names of everything that they folded into an operator.
        name = self.graph.tensors[op.outputs[0]].name.partition(";")[0] or f"{op.op}_{op.index}"
        if "PartitionedCall" in name:  # what TensorFlow calls the outputs of a saved model
            name = self.graph.names.get(op.outputs[0], name)
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            name = f"{name}#{taken[name]}"
        return Layer(operator=op, name=name, data=data, weights=weights)

    def _floating(self, tensor: int | None) -> bool:
        return tensor is not None and (
            self.graph.tensors[tensor].dtype.startswith("float")
            or self.graph.tensors[tensor].quantized
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rows are written from."""

    layers: Layers
    shapes: Mapping[int, tuple[int, ...]]
    """Of inputs of the graph and outputs of its operators, for the batch that was asked about."""
    batch: int


def row(layer: Layer, facts: Facts, *, name: str) -> LayerRow:
    """Describe one layer under the name that it is given."""
    tensors = facts.layers.graph.tensors
    roots = [tensors[root] for w in layer.weights if (root := facts.layers.root(w)) is not None]
    sizes = [prod(root.shape) for root in roots]
    weight = next((root for root in roots if root.quantized), None)
    known = ops.COMPUTE.get(layer.op)
    return LayerRow(
        name=name,
        op=layer.op,
        computes=layer.computes,
        quantized=_quantized(layer, facts.layers),
        inputs=tuple(_info(tensors[index], facts) for index in layer.data),
        outputs=tuple(_info(tensors[index], facts) for index in layer.operator.outputs),
        weight=_qparams(weight, known.output_axis if known else None) if weight else None,
        output=_qparams(tensors[layer.output], None) if tensors[layer.output].quantized else None,
        params=sum(sizes),
        params_quantized=_sum(sizes, roots, ops.SMALL),
        params_half=_sum(sizes, roots, ops.HALF),
        macs=_macs(layer, facts, roots),
        groups_unknown="the weights of LiteRT files are not looked at for it"
        if layer.computes and layer.weights
        else "",
        capture=name,
    )


def _quantized(layer: Layer, layers: Layers) -> bool:
    """By the types that the operator reads and writes: they select its kernel.

    A computing operator with stored weights and real activations is a hybrid one: its kernel
    quantizes the activations and computes in integers.
    """
    tensors = layers.graph.tensors
    if layer.computes and layer.weights:
        return all(tensors[weight].quantized for weight in layer.weights)
    entering = [tensors[index] for index in layer.data] or [tensors[layer.output]]
    return all(one.quantized for one in (*entering, tensors[layer.output]))


def _sum(sizes: list[int], roots: list[Tensor], kinds: frozenset[str]) -> int:
    return sum(size for size, root in zip(sizes, roots, strict=True) if root.dtype in kinds)


def _info(tensor: Tensor, facts: Facts) -> TensorInfo:
    return TensorInfo(shape=facts.shapes.get(tensor.index, tensor.shape), dtype=tensor.dtype)


def _qparams(tensor: Tensor, output_axis: int | None) -> QParams:
    per_channel = len(tensor.scales) > 1
    middle = 1 << (int(tensor.dtype[4:]) - 1) if tensor.dtype.startswith("uint") else 0
    symmetric = all(value == middle for value in tensor.zero_points)
    axis = tensor.axis if per_channel else None
    return QParams(
        dtype=tensor.dtype,
        scheme=f"per-{'channel' if per_channel else 'tensor'}-{'symmetric' if symmetric else 'affine'}",
        axis=axis,
        scales=tensor.scales,
        zero_points=tensor.zero_points,
        channels=tensor.shape[axis] if axis is not None and axis < len(tensor.shape) else None,
        output_axis=output_axis,
    )


def _macs(layer: Layer, facts: Facts, roots: list[Tensor]) -> int:
    """Multiply-accumulates for one sample."""
    if not layer.computes:
        return 0
    tensors, batch = facts.layers.graph.tensors, max(facts.batch, 1)
    out = prod(facts.shapes.get(layer.output, tensors[layer.output].shape))
    data = layer.operator.inputs[ops.DATA_OPERAND.get(layer.op, 0)]
    first = facts.shapes.get(data, tensors[data].shape)
    params = sum(prod(root.shape) for root in roots)
    weight = roots[0].shape if roots else (1,)
    match layer.op:
        case "BATCH_MATMUL":
            total = out * first[-1]
        case "CONV_2D" | "FULLY_CONNECTED":
            total = out * (params // weight[0])
        case "CONV_3D" | "DEPTHWISE_CONV_2D":
            total = out * (params // weight[-1])
        case "TRANSPOSE_CONV":
            total = prod(first) * (params // weight[-1])
        case "SVDF":
            total = batch * params
        case _:  # recurrent cells: every weight once a step
            total = prod(first[:-1]) * params
    return total // batch
