"""Quantizer: ONNX Runtime static post-training quantization."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.quantize import _onnx
from gate.quantize._onnx_untouched import check_op_types
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults

if TYPE_CHECKING:
    from gate.models.base import LoadedModel

_SIXTEEN_BITS = frozenset({"int16", "uint16"})
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


class OnnxRuntimeStatic:
    """``onnxruntime.quantization.quantize_static`` on the pre-processed model."""

    name: ClassVar[str] = "onnxruntime-static"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.ONNX})
    produces: ClassVar[Format | None] = Format.ONNX
    needs_calibration: ClassVar[bool] = True
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

    def unavailable(self) -> str | None:
        """Why this quantizer cannot work here and how to get it."""
        return _onnx.unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return _onnx.versions()

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,  # noqa: ARG002 - the file is the same for every target
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """See ``Quantizer.quantize``."""
        from onnxruntime.quantization import quantize_static

        chosen = with_defaults(options, self.options_schema)
        if chosen["activations"] in ("int8", "int16") and str(chosen["weights"]).startswith(
            "uint8"
        ):
            raise QuantizeError(
                f"{chosen['activations']} activations with uint8 weights: no kernel exists for this"
            )
        if chosen["activations"] in _SIXTEEN_BITS and chosen["format"] != "QDQ":
            raise QuantizeError(
                f"{chosen['activations']} activations: no {chosen['format']} kernel has them; use "
                "format: QDQ"
            )
        if calibration is None:
            raise QuantizeError("static quantization needs calibration samples; there is none")
        with _onnx.workspace() as folder:
            prepared = self._prepared(model, chosen, folder)
            excluded = _onnx.excluded_nodes(prepared, chosen["keep_float"], model, calibration)
            ranges = self._ranges()
            known = any(path.is_file() for path in ranges.values())
            reader = None if known else _reader(model, prepared, calibration)
            written = out_dir / "model.onnx"
            with _onnx.quiet("ONNX Runtime's static quantization"):
                quantize_static(
                    str(prepared),
                    str(written),
                    reader,
                    nodes_to_exclude=excluded,
                    **ranges,
                    **_arguments(chosen),
                )
            artifact = _onnx.finish(written, prepared, producer=self.name, options=chosen)
            op_types = chosen.get("op_types")
            check_op_types(written, prepared, op_types, excluded=excluded)
            return artifact

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among: the nodes of the pre-processed model.

        Raises:
            QuantizeError: the model cannot be prepared.
        """
        import onnx

        chosen = with_defaults(options, self.options_schema)
        with _onnx.workspace() as folder:
            prepared = self._prepared(model, chosen, folder)
            graph = onnx.load_model(str(prepared), load_external_data=False).graph
        return tuple(node.name for node in graph.node)

    def _prepared(self, model: LoadedModel, chosen: Mapping[str, JsonValue], folder: Path) -> Path:
        if self.workbench is None:
            return _onnx.prepare(model, preprocess=chosen["preprocess"], folder=folder)
        kept = self.workbench / "float.onnx"
        if not kept.is_file():
            return _onnx.prepare(model, preprocess=chosen["preprocess"], folder=self.workbench)
        return kept

    def _ranges(self) -> dict[str, Path]:
        """Argument that keeps the ranges, where this version of the library has it."""
        import inspect

        from onnxruntime.quantization import quantize_static

        if self.workbench is None:
            return {}
        if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
            return {}
        return {"calibration_cache_path": self.workbench / "ranges.json"}


def _reader(model: LoadedModel, prepared: Path, calibration: CalibrationBatches) -> Any:
    import onnx

    from gate.quantize._onnx_calibration import BatchReader

    graph = onnx.load_model(str(prepared), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return BatchReader(
        calibration,
        frozenset(value.name for value in graph.input if value.name not in constants),
        _onnx.input_transforms(model),
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
