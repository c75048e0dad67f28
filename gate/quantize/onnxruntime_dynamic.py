"""Quantizer: ONNX Runtime dynamic quantization (weights ahead, activation ranges at run time)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.quantize import _onnx
from gate.quantize._onnx_method import OnnxMethod, OnnxWork
from gate.quantize._onnx_untouched import check_op_types


class OnnxRuntimeDynamic(OnnxMethod):
    """``onnxruntime.quantization.quantize_dynamic`` on the pre-processed model."""

    name = "onnxruntime-dynamic"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "weights": {
                "enum": list(_onnx.WEIGHTS),
                "default": "int8/per-tensor",
                "description": "Type and granularity of the weights.",
            },
            **_onnx.COMMON_PROPERTIES,
        },
    }

    def _made(self, work: OnnxWork) -> Artifact:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        options, prepared, written = work.options, work.prepared, work.written
        weight, granularity = options["weights"].split("/")
        op_types = options.get("op_types")
        proto = onnx.load_model(str(prepared))
        # The library transposes weights in place and infers shapes again, which the shapes of
        # before would contradict.
        del proto.graph.value_info[:]
        onnx.save_model(proto, str(prepared))
        with _onnx.quiet("ONNX Runtime's dynamic quantization"):
            quantize_dynamic(
                str(prepared),
                str(written),
                op_types_to_quantize=sorted(op_types or IntegerOpsRegistry),
                per_channel=granularity == "per-channel",
                reduce_range=options["reduce_range"],
                weight_type=QuantType.QInt8 if weight == "int8" else QuantType.QUInt8,
                nodes_to_exclude=work.kept,
            )
        artifact = self._finished(work)
        check_op_types(
            written, prepared, op_types, excluded=work.kept, aliases={"MatMul": ("Gemm",)}
        )
        return artifact
