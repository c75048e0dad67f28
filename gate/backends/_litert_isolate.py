"""Cut single layers out of a LiteRT graph, as files of their own.

A piece is one operator and what unpacks its constants, with the tensors that it reads and writes as
the file has them: the same types select the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.backends import _litert_ops as ops
from gate.backends._litert_layers import Layer, Layers
from gate.backends._litert_session import KERNELS, Model, Source, quantized
from gate.backends.base import BackendError
from gate.backends.isolation import Operand, Piece, Saved
from gate.core.tensors import Array
from gate.models.tflite_graph import IDENTIFIER, Operator

MODEL_FILE = "layer.tflite"
_ALIGNMENT = 16
"""Bytes, of constants: what the schema demands of buffers."""
_VERSION = 3


class _CannotError(Exception):
    """Why a layer cannot be cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """What the pieces of one file are cut with."""

    source: Source
    layers: Layers
    names: Mapping[int, str]
    """Operator -> name of the layer."""
    inputs: Mapping[int, str]
    """Input of the graph -> its name."""
    real: Callable[[int, Array], Array]
    """Float32 values of a tensor from its stored ones."""

    def pieces(self) -> dict[str, Piece | str]:
        """One piece, or the reason for none, a layer."""
        result: dict[str, Piece | str] = {}
        for layer in self.layers.all:
            name = self.names[layer.operator.index]
            try:
                result[name] = self._piece(layer)
            except _CannotError as error:
                result[name] = str(error)
        return result

    def _piece(self, layer: Layer) -> LiteRtPiece:
        own = [index for index in layer.operator.inputs if index >= 0]
        if any(index in self.layers.shape_arithmetic for index in own):
            raise _CannotError("its shape is found at run time")
        if not layer.data:
            raise _CannotError("it reads nothing that varies")
        before: dict[int, Operator] = {}
        entries = tuple(dict.fromkeys(self._entry(index, before) for index in layer.data))
        return LiteRtPiece(
            source=self.source,
            layers=self.layers,
            layer=layer,
            before=tuple(before[index] for index in sorted(before)),
            entries=entries,
            operands=tuple(self._operand(index) for index in entries),
            real=self.real,
        )

    def _entry(self, tensor: int, before: dict[int, Operator]) -> int:
        """Where a piece begins: before what only quantizes or dequantizes, which enters it too."""
        maker = self.layers.maker(tensor)
        while maker is not None and maker.op in ops.BOUNDARY:
            before[maker.index] = maker
            tensor = maker.inputs[0]
            maker = self.layers.maker(tensor)
        return tensor

    def _operand(self, tensor: int) -> Operand:
        if tensor in self.inputs:
            return Operand(input=self.inputs[tensor])
        maker = self.layers.maker(tensor)
        if maker is None or maker.outputs[0] != tensor or maker.index not in self.names:
            raise _CannotError("one of its inputs is no layer's first output")
        return Operand(layer=self.names[maker.index])


class LiteRtPiece:
    """One layer of a file."""

    def __init__(
        self,
        *,
        source: Source,
        layers: Layers,
        layer: Layer,
        before: tuple[Operator, ...],
        entries: tuple[int, ...],
        operands: tuple[Operand, ...],
        real: Callable[[int, Array], Array],
    ) -> None:
        self.operands = operands
        self._before = before
        self._entries = entries
        self._source = source
        self._layers = layers
        self._layer = layer
        self._real = real
        self._model: Model | None = None

    def run(self, operands: Sequence[Array]) -> Array:
        """See ``Piece.run``."""
        if self._model is None:
            content, ports = self._packed()
            names = {port: str(place) for place, port in enumerate(ports)}
            self._model = Model(self._source, content, names)
        model = self._model
        feeds = {str(place): value for place, value in enumerate(self._feeds(operands))}
        (value,) = model.stored(feeds, [model.outputs[0].index])
        return self._real(self._layer.output, value)

    def save(self, folder: Path, operands: Sequence[Array]) -> Saved:  # noqa: ARG002 - the file names its types
        """See ``Piece.save``."""
        (folder / MODEL_FILE).write_bytes(self._packed()[0])
        about = self._layers.graph.tensors[self._layer.output]
        lines = [
            "from ai_edge_litert.interpreter import Interpreter, OpResolverType",
            f"kernels = OpResolverType.{KERNELS[self._source.kernels]}",
            f"path = str(here / {MODEL_FILE!r})",
            "interpreter = Interpreter(path, experimental_op_resolver_type=kernels)",
            "ports = interpreter.get_input_details()",
            "for port, value in zip(ports, inputs):",
            "    interpreter.resize_tensor_input(port['index'], value.shape)",
            "interpreter.allocate_tensors()",
            "for port, value in zip(ports, inputs):",
            "    scale, zero = port['quantization']",
            "    if scale:",
            "        limits = np.iinfo(port['dtype'])",
            "        value = np.rint(value / np.float32(scale)) + zero",
            "        value = np.clip(value, limits.min, limits.max)",
            "    interpreter.set_tensor(port['index'], value.astype(port['dtype']))",
            "interpreter.invoke()",
            "got = interpreter.get_tensor(interpreter.get_output_details()[0]['index'])",
        ]
        if about.quantized:
            if len(about.scales) != 1:
                raise BackendError("the output has scales by channel, which no script is made for")
            (scale,), (zero_point,) = about.scales, about.zero_points
            lines.append(f"got = (got.astype(np.float32) - {zero_point}) * np.float32({scale!r})")
        return Saved(file=MODEL_FILE, packages=("numpy", "ai-edge-litert"), runs="\n".join(lines))

    def _packed(self) -> tuple[bytes, list[int]]:
        """The layer as a flatbuffer, and its inputs among the tensors of that."""
        return _Part(self._layers).packed(
            (*self._before, self._layer.operator), self._entries, self._layer.output
        )

    def _feeds(self, operands: Sequence[Array]) -> list[Array]:
        import numpy as np

        feeds = []
        for index, value in zip(self._entries, operands, strict=True):
            about = self._layers.graph.tensors[index]
            if value.dtype == np.dtype(about.dtype):
                feeds.append(value)  # an input behind a declared transform is stored already
            elif not about.quantized:
                feeds.append(np.asarray(value, np.dtype(about.dtype), order="C"))
            elif len(about.scales) == 1:
                scale, zero_point = about.scales[0], about.zero_points[0]
                feeds.append(quantized(value, scale, zero_point, np.dtype(about.dtype)))
            else:
                raise BackendError("an input has scales by channel")
        return feeds


class _Part:
    """A model of one operator, made of the parts of another model."""

    def __init__(self, layers: Layers) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._whole = layers.graph.raw
        self._layers = layers
        self._places: dict[int, int] = {}
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]  # the first one is empty by convention
        self._codes: list[Any] = []

    def packed(
        self, operators: Sequence[Operator], entries: Sequence[int], output: int
    ) -> tuple[bytes, list[int]]:
        """The flatbuffer of some operators, and of those that unpack their constants; and its inputs
        among its tensors."""
        schema, unpacking = self._schema, self._layers.unpacking
        reads = dict.fromkeys(index for op in operators for index in op.inputs)
        first = [unpacking[index] for index in reads if index in unpacking]
        made = [self._operator(op) for op in (*first, *operators)]
        inputs = [self._places[index] for index in entries]
        graph = schema.SubGraphT(
            tensors=self._tensors,
            inputs=inputs,
            outputs=[self._places[output]],
            operators=made,
            name="layer",
        )
        model = schema.ModelT(
            version=_VERSION,
            operatorCodes=self._codes,
            subgraphs=[graph],
            buffers=self._buffers,
            description="one layer",
        )
        builder = aligned_builder()
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output()), inputs

    def _operator(self, op: Operator) -> Any:
        from copy import copy

        made = copy(self._whole.subgraphs[0].operators[op.index])
        made.inputs = [self._tensor(index) for index in op.inputs]
        made.outputs = [self._tensor(index) for index in op.outputs]
        made.intermediates = None
        self._codes.append(self._whole.operatorCodes[made.opcodeIndex])
        made.opcodeIndex = len(self._codes) - 1
        return made

    def _tensor(self, index: int) -> int:
        from copy import copy

        if index < 0:
            return -1
        if index not in self._places:
            made = copy(self._whole.subgraphs[0].tensors[index])
            data = self._whole.buffers[made.buffer].data
            constant = data is not None and len(data) > 0
            made.buffer = len(self._buffers) if constant else 0
            if constant:
                self._buffers.append(self._schema.BufferT(data=data))
            self._places[index] = len(self._tensors)
            self._tensors.append(made)
        return self._places[index]


def aligned_builder() -> Any:
    """A flatbuffer builder that aligns byte vectors as the schema demands."""
    import flatbuffers  # comes with ai-edge-litert

    class Aligned(flatbuffers.Builder):  # type: ignore[misc] # no type information is published
        """Writes byte vectors where kernels may read them as any element type."""

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - the library's name
            self.StartVector(x.itemsize, x.size, _ALIGNMENT)
            payload = x.tobytes(order="C")
            self.head -= len(payload)
            self.Bytes[self.head : self.head + len(payload)] = payload
            self.vectorNumElems = x.size
            return self.EndVector()

    return Aligned(1024)
