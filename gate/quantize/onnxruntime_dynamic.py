"""Quantizer: ONNX Runtime dynamic quantization (weights ahead, activation ranges at run time)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.quantize import _onnx
from gate.quantize._onnx_untouched import check_op_types
from gate.quantize.base import CalibrationBatches, with_defaults

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


class OnnxRuntimeDynamic:
    """``onnxruntime.quantization.quantize_dynamic`` on the pre-processed model."""

    name: ClassVar[str] = "onnxruntime-dynamic"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.ONNX})
    produces: ClassVar[Format | None] = Format.ONNX
    needs_calibration: ClassVar[bool] = False
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
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        chosen = with_defaults(options, self.options_schema)
        weight, granularity = chosen["weights"].split("/")
        with _onnx.workspace() as folder:
            prepared = _onnx.prepare(model, preprocess=chosen["preprocess"], folder=folder)
            excluded = _onnx.excluded_nodes(prepared, chosen["keep_float"], model, calibration)
            proto = onnx.load_model(str(prepared))
            # The library transposes weights in place and infers shapes again, which the shapes of
            # before would contradict.
            del proto.graph.value_info[:]
            onnx.save_model(proto, str(prepared))
            written = out_dir / "model.onnx"
            with _onnx.quiet("ONNX Runtime's dynamic quantization"):
                quantize_dynamic(
                    str(prepared),
                    str(written),
                    op_types_to_quantize=sorted(chosen.get("op_types") or IntegerOpsRegistry),
                    per_channel=granularity == "per-channel",
                    reduce_range=chosen["reduce_range"],
                    weight_type=QuantType.QInt8 if weight == "int8" else QuantType.QUInt8,
                    nodes_to_exclude=excluded,
                )
            artifact = _onnx.finish(written, prepared, producer=self.name, options=chosen)
            op_types = chosen.get("op_types")
            check_op_types(
                written, prepared, op_types, excluded=excluded, aliases={"MatMul": ("Gemm",)}
            )
            return artifact

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among: the nodes of the pre-processed model.

        Raises:
            QuantizeError: the model cannot be prepared.
        """
        import onnx

        chosen = with_defaults(options, self.options_schema)
        with _onnx.workspace() as folder:
            prepared = _onnx.prepare(model, preprocess=chosen["preprocess"], folder=folder)
            graph = onnx.load_model(str(prepared), load_external_data=False).graph
        return tuple(node.name for node in graph.node)
