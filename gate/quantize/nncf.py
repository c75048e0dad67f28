"""Quantizer: NNCF's post-training quantization of ONNX models, with its error compensations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.core.transform import TransformError, apply_inputs
from gate.quantize import _onnx
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults

if TYPE_CHECKING:
    from gate.models.base import LoadedModel

_SMOOTH, _ALIGN = "smooth-quant", "channel-alignment"
_FAST_BIAS, _BIAS = "fast-bias-correction", "bias-correction"
_FIRST_OPSET_BY_CHANNEL = 13


class Nncf:
    """``nncf.quantize`` on the pre-processed model; what it writes runs in ONNX Runtime."""

    name: ClassVar[str] = "nncf"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.ONNX})
    produces: ClassVar[Format | None] = Format.ONNX
    needs_calibration: ClassVar[bool] = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "weights": {
                "enum": ["int8/per-channel", "int8/per-tensor"],
                "default": "int8/per-channel",
                "description": "symmetric, scales by output channel or for the whole tensor",
            },
            "activations": {
                "enum": ["affine", "symmetric"],
                "default": "affine",
                "description": "NNCF's presets mixed and performance",
            },
            "correct": {
                "type": "array",
                "items": {"enum": [_SMOOTH, _ALIGN, _FAST_BIAS, _BIAS]},
                "uniqueItems": True,
                "default": [_FAST_BIAS],
                "description": "error compensation: outliers of activations moved into the weights of matrix "
                "products, channels of neighbouring convolutions aligned, biases corrected from "
                "single layers (fast) or from the quantized network",
            },
            "smooth_alpha": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "default": 0.95,
                "description": "how much of the outliers smooth-quant moves",
            },
            "keep_float": _onnx.COMMON_PROPERTIES["keep_float"],
            "preprocess": _onnx.COMMON_PROPERTIES["preprocess"],
        },
    }

    def unavailable(self) -> str | None:
        """Why NNCF cannot work here and how to get it."""
        if find_spec("nncf") is None:
            return "nncf is not installed: pip install 'quantgate[nncf]'"
        return _onnx.unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        found = dict(_onnx.versions())
        with contextlib.suppress(PackageNotFoundError):
            found["nncf"] = version("nncf")
        return found

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

        chosen = with_defaults(options, self.options_schema)
        if {_FAST_BIAS, _BIAS} <= set(chosen["correct"]):
            raise QuantizeError(f"correct: {_FAST_BIAS} and {_BIAS} are two ways of the same")
        with _onnx.workspace() as folder:
            prepared = _onnx.prepare(model, preprocess=chosen["preprocess"], folder=folder)
            kept = _onnx.excluded_nodes(prepared, chosen["keep_float"], model, calibration)
            proto = onnx.load_model(str(prepared))
            if proto.opset_import[0].version < _FIRST_OPSET_BY_CHANNEL:
                raise QuantizeError(
                    f"the model is of opset {proto.opset_import[0].version}; NNCF needs "
                    f"{_FIRST_OPSET_BY_CHANNEL} or later to quantize by channel"
                )
            made = self._quantized(proto, _samples(model, calibration), chosen, kept)
            written = out_dir / "model.onnx"
            written.write_bytes(made.SerializeToString(deterministic=True))
            return _onnx.finish(written, prepared, producer=self.name, options=chosen)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among: the nodes of the pre-processed model.

        Raises:
            QuantizeError: the model cannot be prepared.
        """
        from gate.quantize._onnx_layers import layers_of

        chosen = with_defaults(options, self.options_schema)
        with _onnx.workspace() as folder:
            prepared = _onnx.prepare(model, preprocess=chosen["preprocess"], folder=folder)
            return tuple(layer.name for layer in layers_of(prepared))

    def _quantized(
        self, proto: Any, samples: list[Any], chosen: Mapping[str, JsonValue], kept: list[str]
    ) -> Any:
        with _silent(), _onnx.quiet("NNCF's quantization"):
            import nncf
            from nncf.quantization import advanced_parameters as advanced

            correct = set(chosen["correct"])
            smooth = chosen["smooth_alpha"] if _SMOOTH in correct else -1
            return nncf.quantize(
                proto,
                nncf.Dataset(samples),
                preset=nncf.QuantizationPreset(
                    "mixed" if chosen["activations"] == "affine" else "performance"
                ),
                # The types that ONNX Runtime's x86 kernels take: the device "any" has signed ones only.
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(samples),
                fast_bias_correction=_BIAS not in correct,
                # Without this smooth-quant is passed over in silence.
                model_type=nncf.ModelType.TRANSFORMER if _SMOOTH in correct else None,
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
                advanced_parameters=advanced.AdvancedQuantizationParameters(
                    disable_channel_alignment=_ALIGN not in correct,
                    disable_bias_correction=not correct & {_FAST_BIAS, _BIAS},
                    smooth_quant_alphas=advanced.AdvancedSmoothQuantParameters(
                        convolution=-1, matmul=smooth
                    ),
                    weights_quantization_params=advanced.QuantizationParameters(
                        per_channel=chosen["weights"] == "int8/per-channel"
                    ),
                ),
            )


def _samples(model: LoadedModel, calibration: CalibrationBatches | None) -> list[Any]:
    """Samples one by one, which is how NNCF takes its statistics."""
    transforms = _onnx.input_transforms(model)
    found: list[Any] = []
    for batch in calibration() if calibration is not None else ():
        try:
            inputs = apply_inputs(batch, transforms)
        except TransformError as error:
            raise QuantizeError(f"calibration: {error}") from error
        size = len(next(iter(inputs.values())))
        found += [{name: x[i : i + 1] for name, x in inputs.items()} for i in range(size)]
    if not found:
        raise QuantizeError("static quantization needs calibration samples; there is none")
    return found


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No usage statistics sent, no progress bars, no log on the terminal."""
    import logging

    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # read when nncf is imported: replaces its telemetry by nothing
    logger = logging.getLogger("nncf")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
