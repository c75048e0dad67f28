"""Small LiteRT files written by hand: what a converter makes, and what none should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from gate.backends._litert_isolate import aligned_builder

T = schema.TensorType
B = schema.BuiltinOperator
NUMBERS = {"float32": T.FLOAT32, "float16": T.FLOAT16, "int8": T.INT8, "int32": T.INT32}


class File:
    """A graph under construction."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers = [schema.BufferT()]
        self.codes: list[Any] = []
        self.operators: list[Any] = []
        self.signatures: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        *,
        value: Any = None,
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        signature: tuple[int, ...] | None = None,
    ) -> int:
        made = schema.TensorT(name=name, shape=list(shape), type=NUMBERS[dtype], buffer=0)
        if signature is not None:
            made.shapeSignature = list(signature)
        if scale is not None:
            scales = np.atleast_1d(scale)
            made.quantization = schema.QuantizationParametersT(
                scale=scales.astype(np.float32).tolist(),
                zeroPoint=np.broadcast_to(zero_point, scales.shape).astype(int).tolist(),
                quantizedDimension=axis,
            )
        if value is not None:
            made.buffer = len(self.buffers)
            data = np.ascontiguousarray(value, np.dtype(dtype)).reshape(-1).view(np.uint8)
            self.buffers.append(schema.BufferT(data=data))
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(
        self,
        code: int,
        inputs: list[int],
        outputs: list[int],
        options: tuple[int, Any] | None = None,
        *,
        custom: str | None = None,
    ) -> None:
        version = 4 if code == B.FULLY_CONNECTED else 1
        code_of = schema.OperatorCodeT(
            builtinCode=code,
            deprecatedBuiltinCode=min(code, 127),
            version=version,
            customCode=custom,
        )
        self.codes.append(code_of)
        made = schema.OperatorT(opcodeIndex=len(self.codes) - 1, inputs=inputs, outputs=outputs)
        if options is not None:
            made.builtinOptionsType, made.builtinOptions = options
        self.operators.append(made)

    def linear(self, inputs: list[int], output: int) -> None:
        options = schema.FullyConnectedOptionsT()
        self.operator(
            B.FULLY_CONNECTED,
            inputs,
            [output],
            (schema.BuiltinOptions.FullyConnectedOptions, options),
        )

    def name(self, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Give the file a signature."""

        def maps(names: dict[str, int]) -> list[Any]:
            return [schema.TensorMapT(name=n, tensorIndex=i) for n, i in names.items()]

        self.signatures.append(
            schema.SignatureDefT(
                inputs=maps(inputs), outputs=maps(outputs), signatureKey="serving_default"
            )
        )

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        graph = schema.SubGraphT(
            tensors=self.tensors, inputs=inputs, outputs=outputs, operators=self.operators
        )
        model = schema.ModelT(
            version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers,
            signatureDefs=self.signatures or None,
        )  # fmt: skip
        builder = aligned_builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


WEIGHT = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
BIAS = np.array([0.5, -1.0, 0.25], np.float32)
IN_SCALE, IN_ZERO = 0.05, -3
OUT_SCALE, OUT_ZERO = 0.1, 5


def float_linear(path: Path, *, batch: int = -1, name: str = "dense", half: bool = False) -> Path:
    """``y = x W^T + b``, x (N, 4), then a softmax; ``batch`` fixes N, -1 leaves it open."""
    file = File()
    n = abs(batch)
    x = file.tensor("x", (n, 4), signature=(batch, 4))
    w = file.tensor("w", (3, 4), "float16" if half else "float32", value=WEIGHT)
    if half:
        unpacked = file.tensor("w_unpacked", (3, 4))
        file.operator(B.DEQUANTIZE, [w], [unpacked])
        w = unpacked
    b = file.tensor("b", (3,), value=BIAS)
    y = file.tensor(f"{name}/MatMul;{name}/BiasAdd", (n, 3), signature=(batch, 3))
    out = file.tensor("soft", (n, 3), signature=(batch, 3))
    file.linear([x, w, b], y)
    file.operator(
        B.SOFTMAX,
        [y],
        [out],
        (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT(beta=1.0)),
    )
    file.name({"x": x}, {"output": out})
    return file.write(path, [x], [out])


def int8_linear(path: Path, *, name: str = "dense", real_io: bool = False) -> Path:
    """The same in int8, scales by channel; with ``real_io`` between a QUANTIZE and a DEQUANTIZE."""
    file = File()
    scale = np.abs(WEIGHT).max(axis=1) / 127
    stored = np.rint(WEIGHT / scale[:, None])
    x = file.tensor(
        "xq" if real_io else "x",
        (1, 4),
        "int8",
        scale=IN_SCALE,
        zero_point=IN_ZERO,
        signature=(-1, 4),
    )
    w = file.tensor("w", (3, 4), "int8", value=stored, scale=scale)
    b = file.tensor(
        "b", (3,), "int32", value=np.rint(BIAS / (IN_SCALE * scale)), scale=IN_SCALE * scale
    )
    y = file.tensor(name, (1, 3), "int8", scale=OUT_SCALE, zero_point=OUT_ZERO, signature=(-1, 3))
    out = file.tensor("soft", (1, 3), "int8", scale=1 / 256, zero_point=-128, signature=(-1, 3))
    ends = [x], [out]
    if real_io:
        first = file.tensor("x", (1, 4), signature=(-1, 4))
        last = file.tensor("real", (1, 3), signature=(-1, 3))
        file.operator(B.QUANTIZE, [first], [x])
        ends = [first], [last]
    file.linear([x, w, b], y)
    file.operator(
        B.SOFTMAX,
        [y],
        [out],
        (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT(beta=1.0)),
    )
    if real_io:
        file.operator(B.DEQUANTIZE, [out], [ends[1][0]])
    file.name({"x": ends[0][0]}, {"output": ends[1][0]})
    return file.write(path, *ends)


def expected(x: np.ndarray) -> np.ndarray:
    """What the float file computes."""
    z = x @ WEIGHT.T + BIAS
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
