"""Cut single layers out of a quantized ONNX graph.

A piece is everything between the tensors that enter a layer and its output as the file stores it. What
enters is given in floating point; where the file stores it in integers, the piece begins with a
``QuantizeLinear`` of the scale and zero point that the tensor was *written* with, so that a layer
which reads it with others is seen to. The output stays stored, so that the runtime fuses the piece
into the kernel that it fuses the whole model into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.backends import _onnx_ops as ops
from gate.backends._onnx_describe import channel_parameters
from gate.backends._onnx_fold import Folded, Folder, Stored
from gate.backends._onnx_follow import Identity
from gate.backends._onnx_graph import Graph, Node
from gate.backends._onnx_session import LEVELS, Source, open_part, runtime_errors
from gate.backends.base import BackendError
from gate.backends.isolation import Operand, Piece, Saved
from gate.core.layer import TensorInfo
from gate.core.tensors import Array

_REAL_SUFFIX = "__real"
MODEL_FILE = "layer.onnx"


class _CannotError(Exception):
    """Why a layer cannot be cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """What the pieces of one file are cut with."""

    source: Source
    graph: Graph
    folder: Folder
    infos: Mapping[str, TensorInfo]
    """Of the layers' inputs, at least."""
    real: Callable[[str, Array], Array]
    """Float32 values of a tensor from its stored ones."""

    def pieces(self, layers: Sequence[tuple[Folded, Identity]]) -> dict[str, Piece | str]:
        """One piece, or the reason for none, a layer."""
        makers = {
            self.folder.value_of(layer.outputs[0]): identity.name for layer, identity in layers
        }
        protos = {out: proto for proto in self.source.proto.graph.node for out in proto.output}
        result: dict[str, Piece | str] = {}
        for layer, identity in layers:
            try:
                result[identity.name] = self._piece(layer, makers, protos)
            except _CannotError as error:
                result[identity.name] = str(error)
        return result

    def _piece(
        self, layer: Folded, makers: Mapping[str, str], protos: Mapping[str, Any]
    ) -> OnnxPiece:
        stops = {self._entry(name): None for name in layer.inputs}
        nodes, entries = self._between(layer, stops)
        return OnnxPiece(
            source=self.source,
            graph=self.graph,
            output=layer.outputs[0],
            operands=tuple(self._operand(name, makers) for name in entries),
            entries=tuple((name, self._stored(name), self._info(name)) for name in entries),
            nodes=tuple(protos[next(filter(None, node.outputs))] for node in nodes),
            real=self.real,
            stored=self.folder.stored(layer.outputs[0]),
        )

    def _entry(self, name: str) -> str:
        """Where a piece begins: before a quantization whose scale is found at run time."""
        maker = self.graph.producer.get(name)
        if maker is not None and maker.op in ops.DYNAMIC_QUANTIZE and name == maker.outputs[0]:
            return maker.inputs[0]
        return name

    def _between(self, layer: Folded, stops: dict[str, None]) -> tuple[list[Node], tuple[str, ...]]:
        """Nodes from the stops to the output in order, and the tensors that enter."""
        found: dict[int, Node] = {}
        waiting, entries = [layer.outputs[0]], dict(stops)
        while waiting:
            name = waiting.pop()
            if name in entries or self.graph.is_constant(name):
                continue
            node = self.graph.producer.get(name)
            if node is None:
                entries[name] = None  # an input of the graph that is read for its shape
                continue
            if node.index in found:
                continue
            found[node.index] = node
            if node.op in ops.SHAPE_ONLY:
                # Only the shape matters, and the reference's tensor has the same.
                before = self.graph.producer.get(node.inputs[0])
                boundary = before is not None and before.op in ops.BOUNDARY
                entries[before.inputs[0] if before and boundary else node.inputs[0]] = None
                waiting += node.inputs
                continue
            waiting += node.reads
        foreign = [
            node.name
            for node in found.values()
            if ops.computes(node.op) and ops.computes(layer.node.op) and node is not layer.node
        ]
        if foreign and not layer.node.hides_compute:
            raise _CannotError(f"it cannot be told from {foreign[0]}")
        return [found[index] for index in sorted(found)], tuple(entries)

    def _operand(self, name: str, makers: Mapping[str, str]) -> Operand:
        value = self.folder.value_of(name)
        inputs = [i for i in self.graph.inputs if self.folder.value_of(i) == value]
        if inputs:
            return Operand(input=inputs[0])
        if value not in makers:
            raise _CannotError(f"its input '{name}' is no layer's first output")
        return Operand(layer=makers[value])

    def _stored(self, name: str) -> Stored | None:
        stored = None if name in self.graph.inputs else self.folder.stored(name)
        if stored is not None and channel_parameters(stored, self.graph) is None:
            raise _CannotError(f"the scale of its input '{name}' is found at run time")
        return stored

    def _info(self, name: str) -> TensorInfo | None:
        """None for what enters before it is quantized at run time, or is read for its shape."""
        return self.infos.get(name)


class OnnxPiece:
    """One layer of a file."""

    def __init__(
        self,
        *,
        source: Source,
        graph: Graph,
        output: str,
        operands: tuple[Operand, ...],
        entries: tuple[tuple[str, Stored | None, TensorInfo | None], ...],
        nodes: tuple[Any, ...],
        real: Callable[[str, Array], Array],
        stored: Stored | None,
    ) -> None:
        self.operands = operands
        self._source = source
        self._graph = graph
        self._output = output
        self._entries = entries
        self._nodes = nodes
        self._real = real
        self._stored = stored
        self._session: Any = None

    def run(self, operands: Sequence[Array]) -> Array:
        """See ``Piece.run``."""
        if self._session is None:
            self._session = open_part(self._source, self.model())
        try:
            (value,) = self._session.run([self._output], self._feeds(operands))
        except runtime_errors() as error:
            told = " ".join(str(error).split())
            raise BackendError(f"the layer fails when it runs alone: {told}") from error
        return self._real(self._output, value)

    def save(self, folder: Path, operands: Sequence[Array]) -> Saved:
        """See ``Piece.save``; weights are written into the file."""
        import numpy as np
        import onnx
        from onnx.external_data_helper import load_external_data_for_model

        model = self.model()
        load_external_data_for_model(model, str(self._source.path.parent))
        onnx.save_model(model, str(folder / MODEL_FILE))
        names = list(self._feeds(operands))
        types = [np.dtype(value.dtype).name for value in self._feeds(operands).values()]
        lines = [
            "import onnxruntime",
            f"path, cpu = here / {MODEL_FILE!r}, ['CPUExecutionProvider']",
            "options = onnxruntime.SessionOptions()",
            f"level = onnxruntime.GraphOptimizationLevel.{LEVELS[self._source.level]}",
            "options.graph_optimization_level = level",
            "session = onnxruntime.InferenceSession(path, options, providers=cpu)",
            f"feeds = {{n: v.astype(t) for n, t, v in zip({names!r}, {types!r}, inputs)}}",
            "(got,) = session.run(None, feeds)",
        ]
        parameters = channel_parameters(self._stored, self._graph) if self._stored else None
        if parameters is not None:
            scales, zero_points = parameters
            if len(scales) != 1:
                raise BackendError("the output has scales by channel, which no script is made for")
            lines.append(f"got = (got.astype(np.float32) - {zero_points[0]}) * {scales[0]!r}")
        return Saved(file=MODEL_FILE, packages=("numpy", "onnxruntime"), runs="\n".join(lines))

    def model(self) -> Any:
        """The layer as a ``ModelProto``, weights in the places that the file has them in."""
        import onnx
        from onnx import helper

        whole = self._source.proto
        model = onnx.ModelProto(ir_version=whole.ir_version)
        model.opset_import.extend(whole.opset_import)
        model.functions.extend(whole.functions)
        graph = model.graph
        graph.name = self._output
        for name, stored, info in self._entries:
            fed = name if stored is None else f"{name}{_REAL_SUFFIX}"
            kind = helper.np_dtype_to_tensor_dtype(_fed_type(stored, info))
            axes = [f"{fed}_{axis}" for axis in range(len(info.shape))] if info else None
            graph.input.append(helper.make_tensor_value_info(fed, kind, axes))
            if stored is not None:
                operands = [fed, stored.scale, *filter(None, [stored.zero_point])]
                axis = {} if stored.axis is None else {"axis": stored.axis}
                graph.node.append(helper.make_node("QuantizeLinear", operands, [name], **axis))
        graph.node.extend(self._nodes)
        graph.output.append(onnx.ValueInfoProto(name=self._output))
        made = {i.name for i in graph.input}
        made.update(out for node in graph.node for out in node.output)
        for name in dict.fromkeys(_reads(graph.node)):
            tensor = None if name in made else self._graph.constant(name)
            if tensor is not None:
                graph.initializer.append(tensor)
        return model

    def _feeds(self, operands: Sequence[Array]) -> dict[str, Array]:
        import numpy as np

        feeds = {}
        for (name, stored, info), value in zip(self._entries, operands, strict=True):
            fed = name if stored is None else f"{name}{_REAL_SUFFIX}"
            feeds[fed] = np.asarray(value, _fed_type(stored, info), order="C")
        return feeds


def _fed_type(stored: Stored | None, info: TensorInfo | None) -> Any:
    import numpy as np

    return np.dtype("float32" if stored is not None or info is None else info.dtype)


def _reads(nodes: Any) -> Iterator[str]:
    """Tensors that nodes read, those of their subgraphs included."""
    for node in nodes:
        yield from filter(None, node.input)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _reads(body.node)
                yield from (value.name for value in body.output)
