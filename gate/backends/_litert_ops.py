"""What the gate knows of LiteRT operators: which compute, and where their weights stand. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """An operator with arithmetic that a quantizer is expected to take to integers."""

    weights: tuple[int, ...]
    """Operand positions."""
    output_axis: int | None = None
    """Axis of the output channels in the weight."""


COMPUTE: dict[str, Compute] = {
    "BATCH_MATMUL": Compute(weights=(1,)),
    "CONV_2D": Compute(weights=(1,), output_axis=0),
    "CONV_3D": Compute(weights=(1,), output_axis=4),
    "DEPTHWISE_CONV_2D": Compute(weights=(1,), output_axis=3),
    "FULLY_CONNECTED": Compute(weights=(1,), output_axis=0),
    "RNN": Compute(weights=(1, 2), output_axis=0),
    "SVDF": Compute(weights=(1, 2)),
    "TRANSPOSE_CONV": Compute(weights=(1,), output_axis=0),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Compute(weights=tuple(range(1, 9)), output_axis=0),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Compute(weights=(1, 2), output_axis=0),
}
"""By the names of the flatbuffer's enumeration."""

DATA_OPERAND = {"TRANSPOSE_CONV": 2}
"""Position of the activation that enters a computing operator, where it is not the first."""

BOUNDARY = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Between real and stored values: no layers of their own."""

SHAPE_ONLY = frozenset({"SHAPE", "RANK"})
"""Their outputs depend on the shape of a tensor, not on its values."""

HALF = frozenset({"float16", "bfloat16"})
SMALL = frozenset({"int8", "uint8", "int4", "uint4", "int2"})
BITS = {"int4": 4, "uint4": 4, "int2": 2, "float16": 16, "bfloat16": 16}
"""Of element types whose name NumPy has no eight, 32 or 64 bits for."""
