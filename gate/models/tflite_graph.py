"""What a LiteRT file holds, read from its flatbuffer: operators, tensors, constants. Nothing is executed.

Layout: ``schema.fbs`` of LiteRT, through the classes that ``ai-edge-litert`` generates from it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gate.core.tensors import Array
from gate.models.base import ModelError

IDENTIFIER = b"TFL3"
MOST_BYTES = 2**31 - 1
"""What a flatbuffer can address; larger models keep their constants behind it, which is not read."""
_MALFORMED = (
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
)
"""What the generated readers raise on offsets that lead nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of the main subgraph."""

    index: int
    name: str
    shape: tuple[int, ...]
    """As stored; a dynamic axis is 1."""
    dynamic: tuple[bool, ...]
    """Axis by axis: whether its size may change."""
    dtype: str
    scales: tuple[float, ...]
    """Empty where the tensor is not quantized."""
    zero_points: tuple[int, ...]
    axis: int | None
    """Channel axis of scales a channel."""
    constant: bool
    variable: bool
    """A state that an operator keeps from run to run."""
    buffer_bytes: int
    """Bytes of the constant in the file."""

    @property
    def quantized(self) -> bool:
        """Whether it stores integers with a scale."""
        return bool(self.scales) and "int" in self.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator; inputs that are left out are -1."""

    index: int
    op: str
    """``CONV_2D`` ...; the name of a custom one."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteGraph:
    """The main subgraph of a file."""

    path: Path
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    names: Mapping[int, str]
    """Tensor -> name in the file's one signature, where it has exactly one."""
    subgraphs: int
    raw: Any
    """The unpacked ``ModelT``; its constants are views of the file's bytes."""

    def name_of(self, tensor: int) -> str:
        """Name of an input or output: the signature's, else the tensor's own."""
        return self.names.get(tensor, self.tensors[tensor].name)

    def value(self, tensor: int) -> Array | None:
        """Bytes of a constant; None where there are none."""
        data = self.raw.buffers[self.raw.subgraphs[0].tensors[tensor].buffer].data
        return None if data is None or len(data) == 0 else data


def read_tflite(path: Path) -> TfliteGraph:
    """Parse a file, following every offset.

    Raises:
        ModelError: missing, oversized or damaged file, or one that is no LiteRT model.
    """
    content = read_bytes(path)
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        return _graph(path, model)
    except _MALFORMED as error:
        raise ModelError(f"{path}: is a damaged LiteRT file: {error}") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file that claims to be a LiteRT model.

    Raises:
        ModelError: missing, oversized, or no such file.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such LiteRT file")
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{path}: is larger than 2 GiB, which is not read")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if content[4:8] != IDENTIFIER:
        raise ModelError(f"{path}: is no LiteRT (.tflite) file: its identifier is not TFL3")
    return content


def _graph(path: Path, model: Any) -> TfliteGraph:
    if not model.subgraphs:
        raise ModelError(f"{path}: holds no graph")
    main = model.subgraphs[0]
    if not main.operators:
        raise ModelError(f"{path}: its graph has no operator")
    for buffer in model.buffers or ():
        if buffer.offset > 1:
            raise ModelError(f"{path}: keeps constants behind the flatbuffer, which is not read")
    made = {int(t) for op in main.operators for t in _numbers(op.outputs)}
    inputs = _numbers(main.inputs)
    tensors = tuple(
        _tensor(index, tensor, model, free=index in made or index in inputs)
        for index, tensor in enumerate(main.tensors)
    )
    operators = tuple(
        Operator(
            index=index,
            op=_op_name(model.operatorCodes[op.opcodeIndex]),
            inputs=_numbers(op.inputs),
            outputs=_numbers(op.outputs),
        )
        for index, op in enumerate(main.operators)
    )
    for op in operators:
        if any(not -1 <= t < len(tensors) for t in (*op.inputs, *op.outputs)):
            raise ModelError(f"{path}: operator {op.index} names a tensor that is not there")
    return TfliteGraph(
        path=path,
        tensors=tensors,
        operators=operators,
        inputs=inputs,
        outputs=_numbers(main.outputs),
        names=_signature(model),
        subgraphs=len(model.subgraphs),
        raw=model,
    )


def _tensor(index: int, tensor: Any, model: Any, *, free: bool) -> Tensor:
    shape = _numbers(tensor.shape)
    signature = _numbers(tensor.shapeSignature) or shape
    parameters = tensor.quantization
    scales = () if parameters is None or parameters.scale is None else parameters.scale
    zeros = () if parameters is None or parameters.zeroPoint is None else parameters.zeroPoint
    scales = tuple(float(value) for value in scales)
    data = model.buffers[tensor.buffer].data
    size = 0 if data is None else len(data)
    per_channel = len(scales) > 1
    return Tensor(
        index=index,
        name=(tensor.name or b"").decode("utf-8", "replace"),
        shape=shape,
        dynamic=tuple(size < 0 for size in signature),
        dtype=_types()[tensor.type],
        scales=scales,
        # A producer may leave out zero points that are all nought.
        zero_points=tuple(int(value) for value in zeros) or (0,) * len(scales),
        axis=int(parameters.quantizedDimension) if per_channel else None,
        constant=size > 0 and not free and not tensor.isVariable,
        variable=bool(tensor.isVariable),
        buffer_bytes=size,
    )


def _signature(model: Any) -> dict[int, str]:
    signatures = model.signatureDefs or []
    if len(signatures) != 1 or signatures[0].subgraphIndex != 0:
        return {}
    both = (*(signatures[0].inputs or ()), *(signatures[0].outputs or ()))
    return {int(one.tensorIndex): one.name.decode("utf-8", "replace") for one in both}


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)


def _op_name(code: Any) -> str:
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    name = _operators()[number]
    return code.customCode.decode("utf-8", "replace") if name == "CUSTOM" else name


@cache
def _operators() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return _words(BuiltinOperator)


@cache
def _types() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import TensorType

    return {number: name.lower() for number, name in _words(TensorType).items()}


def _words(enum: Any) -> dict[int, str]:
    return {
        number: name
        for name, number in vars(enum).items()
        if isinstance(number, int) and not name.startswith("_")
    }
