"""Quantizer: ONNX Runtime static post-training quantization."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.quantize import _onnx
from gate.quantize._onnx_method import OnnxMethod, OnnxWork
from gate.quantize._onnx_untouched import check_op_types
from gate.quantize.base import OptionsError

if TYPE_CHECKING:
    from gate.models.base import LoadedModel

_SIXTEEN_BITS = frozenset({"int16", "uint16"})
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


class OnnxRuntimeStatic(OnnxMethod):
    """``onnxruntime.quantization.quantize_static`` on the pre-processed model."""

    name = "onnxruntime-static"
    needs_calibration = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "format": {
                "enum": ["QDQ", "QOperator"],
                "default": "QDQ",
                "description": "How quantization is written into the graph.",
            },
            "weights": {
                "enum": list(_onnx.WEIGHTS),
                "default": "int8/per-channel",
                "description": "Type and granularity of the weights.",
            },
            "activations": {
                "enum": ["uint8", "int8", "uint16", "int16"],
                "default": "uint8",
                "description": "Type of the activations; int8 is slow on x86; with 16 bits the weights are "
                "stored in 8 and ONNX Runtime's CPU kernels compute in floating point.",
            },
            "calibrate": {
                "enum": list(_METHODS),
                "default": "minmax",
                "description": "How ranges are chosen from the calibration samples.",
            },
            "percentile": {
                "type": "number",
                "exclusiveMinimum": 50,
                "maximum": 100,
                "default": 99.999,
                "description": "Share of the values that a range keeps (calibrate: percentile).",
            },
            "symmetric_weights": {
                "type": "boolean",
                "default": True,
                "description": "Zero points of the weights in the middle.",
            },
            "symmetric_activations": {
                "type": "boolean",
                "default": False,
                "description": "Zero points of the activations in the middle.",
            },
            **_onnx.COMMON_PROPERTIES,
        },
    }

    def __init__(self) -> None:
        self.workbench: Path | None = None
        """Folder in which the prepared model and the calibrated ranges are kept, for a search that
        quantizes one model again and again with other layers in float; None keeps nothing."""

    def _completed(self, options: Options) -> dict[str, JsonValue]:
        complete = super()._completed(options)
        activations = complete["activations"]
        if activations in ("int8", "int16") and complete["weights"].startswith("uint8"):
            raise OptionsError(
                f"{activations} activations with uint8 weights: no kernel exists for this",
                option="weights",
            )
        if activations in _SIXTEEN_BITS and complete["format"] != "QDQ":
            raise OptionsError(
                f"{activations} activations: no {complete['format']} kernel has them; use format: QDQ",
                option="format",
            )
        return complete

    def _made(self, work: OnnxWork) -> Artifact:
        from onnxruntime.quantization import quantize_static

        ranges = self._ranges()
        known = any(path.is_file() for path in ranges.values())
        reader = None if known else _reader(work)
        with _onnx.quiet("ONNX Runtime's static quantization"):
            quantize_static(
                str(work.prepared),
                str(work.written),
                reader,
                nodes_to_exclude=work.kept,
                **ranges,
                **_arguments(work.options),
            )
        artifact = self._finished(work)
        op_types = work.options.get("op_types")
        check_op_types(work.written, work.prepared, op_types, excluded=work.kept)
        return artifact

    def _prepared(self, model: LoadedModel, options: Mapping[str, JsonValue], folder: Path) -> Path:
        if self.workbench is None:
            return super()._prepared(model, options, folder)
        kept = self.workbench / "float.onnx"
        return kept if kept.is_file() else super()._prepared(model, options, self.workbench)

    def _ranges(self) -> dict[str, Path]:
        """Argument that keeps the ranges, where this version of the library has it."""
        import inspect

        from onnxruntime.quantization import quantize_static

        if self.workbench is None:
            return {}
        if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
            return {}
        return {"calibration_cache_path": self.workbench / "ranges.json"}


def _reader(work: OnnxWork) -> Any:
    import onnx

    from gate.quantize._onnx_calibration import BatchReader

    graph = onnx.load_model(str(work.prepared), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return BatchReader(
        work.calibration,
        frozenset(value.name for value in graph.input if value.name not in constants),
        _onnx.input_transforms(work.model),
    )


def _arguments(chosen: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Keyword arguments of ``quantize_static``."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    kinds = {
        "int8": QuantType.QInt8,
        "uint8": QuantType.QUInt8,
        "int16": QuantType.QInt16,
        "uint16": QuantType.QUInt16,
    }
    weight, granularity = chosen["weights"].split("/")
    percentile = chosen["calibrate"] == "percentile"
    return {
        "quant_format": getattr(QuantFormat, chosen["format"]),
        # Sorted: the library's own default is a set, whose order changes from run to run.
        "op_types_to_quantize": sorted(chosen.get("op_types") or _all_op_types()),
        "per_channel": granularity == "per-channel",
        "reduce_range": chosen["reduce_range"],
        "activation_type": kinds[chosen["activations"]],
        "weight_type": kinds[weight],
        "calibrate_method": getattr(CalibrationMethod, _METHODS[chosen["calibrate"]]),
        "extra_options": {
            "ActivationSymmetric": chosen["symmetric_activations"],
            "CalibTensorRangeSymmetric": chosen["symmetric_activations"],
            "WeightSymmetric": chosen["symmetric_weights"],
            "CalibStridedMinMax": 1,
            **({"CalibPercentile": chosen["percentile"]} if percentile else {}),
        },
    }


def _all_op_types() -> set[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return {*QLinearOpsRegistry, *QDQRegistry}
