"""Quantizer: an ONNX model in 16-bit floating point, by ONNX Runtime's converter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.quantize import _onnx
from gate.quantize._onnx_method import OnnxMethod, OnnxWork
from gate.quantize.base import QuantizeError

_LARGEST = 65504.0
"""The largest number of float16."""


class OnnxRuntimeFp16(OnnxMethod):
    """``onnxruntime.transformers.float16.convert_float_to_float16``: weights and arithmetic in float16,
    inputs and outputs of the model in float32.

    Where a machine has no such kernels (most on x86), the runtime casts around each operator: the file
    is half as large and no faster.
    """

    name = "onnxruntime-fp16"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "keep_ops": {
                "type": "array",
                "items": {"type": "string", "minLength": 1},
                "uniqueItems": True,
                "default": [],
                "description": "ONNX operators that stay float32, beside those that have no float16 form.",
            },
            "keep_float": _onnx.COMMON_PROPERTIES["keep_float"],
            "preprocess": _onnx.COMMON_PROPERTIES["preprocess"],
        },
    }

    def _made(self, work: OnnxWork) -> Artifact:
        import onnx

        proto, named = onnx.load_model(str(work.prepared)), work.options["keep_ops"]
        kept = _kept_ops(proto, named)
        _refuse_large(proto, work.kept, kept)
        with _onnx.quiet("ONNX Runtime's conversion to float16"):
            proto = _converted(proto, work.kept, kept)
        _tidy(proto)
        onnx.save_model(proto, str(work.written))
        if not _half_weights(proto):
            raise QuantizeError(
                "nothing was quantized: no weight is in float16; the options keep"
                f" {', '.join([*named, *work.kept]) or 'nothing'} in float32"
            )
        return _onnx.describe(work.written, producer=self.name, options=work.options)


def _kept_ops(proto: Any, named: Collection[str]) -> list[str]:
    """Operators that stay float32: those of the library's list, and those that the spec names.

    Raises:
        QuantizeError: an operator that the model does not have.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    present = sorted({node.op_type for node in proto.graph.node})
    for op in named:
        if op not in present:
            raise QuantizeError(f"keep_ops: the model has no {op}; it has {', '.join(present)}")
    return sorted({*DEFAULT_OP_BLOCK_LIST, *named})


def _refuse_large(proto: Any, excluded: Collection[str], kept: Collection[str]) -> None:
    """The library cuts what float16 cannot hold without a word.

    Raises:
        QuantizeError: a weight of a node that is to be converted holds such a number.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    readers: dict[str, list[str]] = {}
    for node in proto.graph.node:
        if node.name not in excluded and node.op_type not in kept:
            for name in node.input:
                readers.setdefault(name, []).append(node.name)
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name not in readers:
            continue
        value = numpy_helper.to_array(tensor)
        largest = float(np.abs(value).max(initial=0.0))
        if largest > _LARGEST:
            raise QuantizeError(
                f"{tensor.name} of {readers[tensor.name][0]} holds {largest:.6g}, float16 ends at"
                f" {_LARGEST:.0f}: keep the node in float32 (keep_float)"
            )


def _converted(proto: Any, excluded: Collection[str], kept: Collection[str]) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(
        proto,
        keep_io_types=True,
        op_block_list=list(kept),
        node_block_list=list(excluded),
    )


def _tidy(proto: Any) -> None:
    """Keep one of the equal casts that the converter makes for each reader of a tensor, and put the
    nodes, which it appends, in order of execution."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    single = {tuple(node.output): node for node in reversed(proto.graph.node)}
    nodes = [node for node in proto.graph.node if single[tuple(node.output)] is node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    ONNXModel(proto).topological_sort()


def _half_weights(proto: Any) -> bool:
    from onnx import TensorProto

    return any(
        tensor.data_type == TensorProto.FLOAT16 and len(tensor.dims) > 1
        for tensor in proto.graph.initializer
    )
