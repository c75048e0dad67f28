"""What the gate knows of ONNX operators: which compute, and where their operands stand. Data only."""

from __future__ import annotations

from dataclasses import dataclass

QUANTIZE = frozenset({"QuantizeLinear"})
DEQUANTIZE = frozenset({"DequantizeLinear"})
DYNAMIC_QUANTIZE = frozenset({"DynamicQuantizeLinear"})
BOUNDARY = QUANTIZE | DEQUANTIZE | DYNAMIC_QUANTIZE
"""Between real and stored values: no layers of their own."""

SHAPE_ONLY = frozenset({"Shape", "Size"})
"""Their outputs depend on the shape of a tensor, not on its values."""

FIRST_ONLY = frozenset({"CastLike"})
"""Of their operands only the first gives values."""

CLAMPS = frozenset({"Relu", "Clip"})
"""Activations that a quantizer replaces by the range of the quantized tensor before them."""

GLUE = frozenset({"Add", "Cast", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What a rewriter puts beside an operator that it replaces (bias, scale, axes)."""

DIRECT = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "Identity",
        "MaxPool",
        "NhwcMaxPool",
        "Pad",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Move or choose values: on stored integers, the output has the first input's scale and zero point."""

FLOAT_COMPUTE: dict[str, tuple[int, ...]] = {
    "Attention": (1,),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "DeformConv": (1,),
    "Einsum": (1,),
    "FusedConv": (1,),
    "FusedGemm": (1,),
    "FusedMatMul": (1,),
    "GRU": (1, 2),
    "Gemm": (1,),
    "LSTM": (1, 2),
    "MatMul": (1,),
    "RNN": (1, 2),
}
"""Operators with arithmetic that a quantizer is expected to take to integers -> weight operands."""

EMBEDDING = "Gather"
"""Its first operand holds parameters where it is constant."""

PACKED = frozenset({"MatMulNBits"})
"""Hold their weights as packed bytes, of another shape than the weights have."""

HALF = frozenset({"float16", "bfloat16"})
HALF_TYPES = frozenset({10, 16})
"""Values of ``Cast``'s attribute ``to`` for float16 and bfloat16."""
FLOAT_TYPE = 1

OTHER_TYPE = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Cast",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "NonZero",
        "QuantizeLinear",
        "Shape",
        "Size",
    }
)
"""Their outputs are not of their inputs' type."""

NEEDS_NO_OUTPUT_SCALE = frozenset({"Gemm", "MatMul"})
"""Integer kernels of these exist with a floating-point result (QGemm, MatMulIntegerToFloat)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerOp:
    """Operand positions of an operator that works on stored integers."""

    stands_for: str
    data: tuple[int, ...] = (0,)
    weight: tuple[tuple[int, int | None, int | None], ...] = ()
    """(position, scale, zero point) of each weight."""
    axis: int | None = None
    """Channel axis of the weight; None where an attribute decides."""
    scale: int | None = None
    zero_point: int | None = None
    """Scale and zero point of the output; None where the output is in floating point."""
    accumulates: bool = False
    """True where the result is an int32 sum, scaled by the nodes that follow."""


INTEGER_OPS: dict[str, IntegerOp] = {
    "ConvInteger": IntegerOp(stands_for="Conv", weight=((1, None, 3),), axis=0, accumulates=True),
    "MatMulInteger": IntegerOp(
        stands_for="MatMul", data=(0, 1), weight=((1, None, 3),), axis=-1, accumulates=True
    ),
    "DynamicQuantizeMatMul": IntegerOp(stands_for="MatMul", weight=((1, 2, 3),), axis=-1),
    # Whether the product is in integers too depends on an attribute: _onnx_blocks.in_integers.
    "MatMulNBits": IntegerOp(stands_for="MatMul", weight=((1, 2, 3),), axis=0),
    "MatMulIntegerToFloat": IntegerOp(
        stands_for="MatMul", data=(0, 1), weight=((1, 3, 5),), axis=-1
    ),
    "DynamicQuantizeLSTM": IntegerOp(
        stands_for="LSTM", data=(0, 5, 6), weight=((1, 8, 9), (2, 10, 11)), axis=-1
    ),
    "QLinearConv": IntegerOp(stands_for="Conv", weight=((3, 4, 5),), axis=0, scale=6, zero_point=7),
    "QLinearMatMul": IntegerOp(
        stands_for="MatMul", data=(0, 3), weight=((3, 4, 5),), axis=-1, scale=6, zero_point=7
    ),
    "QGemm": IntegerOp(stands_for="Gemm", data=(0, 3), weight=((3, 4, 5),), scale=7, zero_point=8),
    "QLinearAdd": IntegerOp(stands_for="Add", data=(0, 3), scale=6, zero_point=7),
    "QLinearMul": IntegerOp(stands_for="Mul", data=(0, 3), scale=6, zero_point=7),
    "QLinearAveragePool": IntegerOp(stands_for="AveragePool", scale=3, zero_point=4),
    "QLinearGlobalAveragePool": IntegerOp(stands_for="GlobalAveragePool", scale=3, zero_point=4),
    "QLinearLeakyRelu": IntegerOp(stands_for="LeakyRelu", scale=3, zero_point=4),
    "QLinearReduceMean": IntegerOp(stands_for="ReduceMean", scale=3, zero_point=4),
    "QLinearSigmoid": IntegerOp(stands_for="Sigmoid", scale=3, zero_point=4),
    "QLinearSoftmax": IntegerOp(stands_for="Softmax", scale=3, zero_point=4),
    "QLinearConcat": IntegerOp(
        stands_for="Concat", data=tuple(range(2, 512, 3)), scale=0, zero_point=1
    ),
    "QLinearWhere": IntegerOp(stands_for="Where", data=(0, 1, 4), scale=7, zero_point=8),
}
"""Of the standard and of ``com.microsoft``; how ONNX Runtime names them."""


def computes(op: str) -> bool:
    """True where a quantizer is expected to take this operator to integers."""
    integer = INTEGER_OPS.get(op)
    return (integer.stands_for if integer else op) in FLOAT_COMPUTE
