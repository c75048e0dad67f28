"""Quantizer: NNCF's post-training quantization of ONNX models, with its error compensations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.core.transform import TransformError, apply_inputs
from gate.quantize import _onnx
from gate.quantize._onnx_method import OnnxMethod, OnnxWork
from gate.quantize.base import OptionsError, QuantizeError

_SMOOTH, _ALIGN = "smooth-quant", "channel-alignment"
_FAST_BIAS, _BIAS = "fast-bias-correction", "bias-correction"
_FIRST_OPSET_BY_CHANNEL = 13


class Nncf(OnnxMethod):
    """``nncf.quantize`` on the pre-processed model; what it writes runs in ONNX Runtime."""

    name = "nncf"
    needs_calibration = True
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
        return super().unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        found = dict(super().versions())
        with contextlib.suppress(PackageNotFoundError):
            found["nncf"] = version("nncf")
        return found

    def _completed(self, options: Options) -> dict[str, JsonValue]:
        complete = super()._completed(options)
        if {_FAST_BIAS, _BIAS} <= set(complete["correct"]):
            raise OptionsError(
                f"correct: {_FAST_BIAS} and {_BIAS} are two ways of the same", option="correct"
            )
        return complete

    def _made(self, work: OnnxWork) -> Artifact:
        import onnx

        proto = onnx.load_model(str(work.prepared))
        if proto.opset_import[0].version < _FIRST_OPSET_BY_CHANNEL:
            raise QuantizeError(
                f"the model is of opset {proto.opset_import[0].version}; NNCF needs "
                f"{_FIRST_OPSET_BY_CHANNEL} or later to quantize by channel"
            )
        made = _quantized(proto, _samples(work), work.options, work.kept)
        work.written.write_bytes(made.SerializeToString(deterministic=True))
        return self._finished(work)


def _quantized(
    proto: Any, samples: list[Any], chosen: Mapping[str, JsonValue], kept: list[str]
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


def _samples(work: OnnxWork) -> list[Any]:
    """Samples one by one, which is how NNCF takes its statistics."""
    transforms = _onnx.input_transforms(work.model)
    found: list[Any] = []
    for batch in work.calibration():
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
