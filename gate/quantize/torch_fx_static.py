"""torch FX static post-training quantization: ranges observed on calibration samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, Options, TargetSpec
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import (
    ENGINES,
    ao_unavailable,
    engine_of,
    quiet_torch_ao,
    torch_settings,
)
from gate.quantize._torch_common import (
    KEEP_FLOAT_SCHEMA,
    calibrate,
    computes_quantized,
    kept_in_float,
    module_kinds,
    torch_versions,
    write_artifact,
)
from gate.quantize._torch_qconfig import qconfig_mapping
from gate.quantize._torch_state import load_state
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel

# Without VNNI the 16-bit sums of fbgemm's kernels saturate at full range; x86 may dispatch to them.
_REDUCES_RANGE = frozenset({"x86", "fbgemm"})


class TorchFxStatic:
    """``prepare_fx``, calibration and ``convert_fx``."""

    name: ClassVar[str] = "torch-fx-static"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "observer": {
                "enum": ["minmax", "moving-average", "histogram"],
                "default": "histogram",
                "description": "how the range of an activation is taken",
            },
            "weights": {
                "enum": ["int8/per-channel", "int8/per-tensor"],
                "default": "int8/per-channel",
                "description": "symmetric, scales by output channel or for the whole tensor",
            },
            "activations": {
                "enum": ["quint8/affine", "quint8/symmetric"],
                "default": "quint8/affine",
                "description": "symmetric puts the zero point at 128",
            },
            "reduce_range": {
                "type": "boolean",
                "description": "affine activations in 7 bits; default true for engines x86 and fbgemm",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
            "engine": {
                "enum": list(ENGINES),
                "description": "kernels to quantize for; default the target's engine",
            },
        },
    }

    def unavailable(self) -> str | None:
        """Why torch.ao is not here, or None."""
        return ao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torch_versions()

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """Calibrate, convert and write the state; see ``Quantizer.quantize``."""
        complete = with_defaults(options, self.options_schema)
        complete.setdefault("engine", engine_of(target.options))
        symmetric = complete["activations"] == "quint8/symmetric"
        complete.setdefault("reduce_range", complete["engine"] in _REDUCES_RANGE and not symmetric)
        if symmetric and complete["reduce_range"]:
            raise QuantizeError(
                "torch cannot reduce the range of symmetric activations: drop reduce_range, or use "
                "activations: quint8/affine"
            )
        inputs = model.spec.inputs
        with torch_settings(engine=complete["engine"], threads=target.threads):
            quantized = _quantized(
                model.module, complete, inputs, lambda m: calibrate(m, calibration, inputs)
            )
            if not computes_quantized(quantized):
                raise QuantizeError(
                    "nothing was quantized: torch FX found no layer that it has integer kernels for; "
                    f"the model is made of {module_kinds(model.module)}, kept in float: "
                    f"{', '.join(complete['keep_float']) or 'nothing'}"
                )
            return write_artifact(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The converted graph around the float module, its ranges from the file instead of from
        calibration; see ``RestoringQuantizer.restore``."""
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            quantized = _quantized(
                model.module, artifact.options, model.spec.inputs, lambda _: None
            )
            load_state(quantized, artifact.path)
        return quantized


def _quantized(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    inputs: Mapping[str, InputSpec],
    observe: Callable[[nn.Module], None],
) -> nn.Module:
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    from torch.fx.proxy import TraceError

    with quiet_torch_ao():
        mapping = qconfig_mapping(options, kept_in_float(module, options["keep_float"]))
        try:
            prepared = prepare_fx(copy.deepcopy(module).eval(), mapping, example_inputs(inputs))
        except TraceError as error:
            raise QuantizeError(
                f"torch FX cannot trace the model ({error}); control flow on tensor values must go, "
                "or use torch-dynamic"
            ) from error
        except Exception as error:  # tracing runs the model's code, which may raise anything
            raise QuantizeError(
                f"torch FX cannot prepare the model ({type(error).__name__}: {error})"
            ) from error
        observe(prepared)
        try:
            converted = convert_fx(prepared)
        except (RuntimeError, ValueError, KeyError, AssertionError, TypeError) as error:
            raise QuantizeError(f"torch FX cannot convert the model: {error}") from error
    return converted.eval()
