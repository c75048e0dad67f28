"""torch FX static post-training quantization: ranges observed on calibration samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, Options, TargetSpec
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import ao_unavailable, engine_of, quiet_torch_ao, torch_settings
from gate.quantize._torch_common import (
    calibrate,
    computes_quantized,
    module_kinds,
    remembered_kept,
    resolve_kept,
    torch_versions,
    write_artifact,
)
from gate.quantize._torch_qconfig import qconfig_mapping
from gate.quantize._torch_state import load_state
from gate.quantize._torch_static import (
    STATIC_PROPERTIES,
    completed,
    convert_corrected,
    equalised,
)
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.keep_float import told

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchFxStatic:
    """``prepare_fx``, calibration and ``convert_fx``."""

    name: ClassVar[str] = "torch-fx-static"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": STATIC_PROPERTIES,
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
        seed: int,
        out_dir: Path,
    ) -> Artifact:
        """Calibrate, convert and write the state; see ``Quantizer.quantize``."""
        complete = completed(options, self.options_schema, target)
        inputs = model.spec.inputs
        with torch_settings(engine=complete["engine"], threads=target.threads):
            kept = resolve_kept(model.module, complete, inputs=inputs, calibration=calibration)
            quantized = convert_corrected(
                _prepared(equalised(model.module, complete, kept), complete, kept, inputs),
                observe=lambda module: calibrate(module, calibration, inputs),
                convert=_converted,
                options=complete,
                seed=seed,
            )
            if not computes_quantized(quantized):
                raise QuantizeError(
                    "nothing was quantized: torch FX found no layer that it has integer kernels for; "
                    f"the model is made of {module_kinds(model.module)}, kept in float: "
                    f"{told(complete['keep_float']) or 'nothing'}"
                )
            return write_artifact(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The converted graph around the float module, its ranges from the file instead of from
        calibration; see ``RestoringQuantizer.restore``."""
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = remembered_kept(model.module, artifact.options)
            quantized = _converted(
                _prepared(model.module, artifact.options, kept, model.spec.inputs)
            )
            load_state(quantized, artifact.path)
        return quantized


def _prepared(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    kept: Sequence[str],
    inputs: Mapping[str, InputSpec],
) -> nn.Module:
    from torch.ao.quantization.quantize_fx import prepare_fx
    from torch.fx.proxy import TraceError

    with quiet_torch_ao():
        mapping = qconfig_mapping(options, kept)
        try:
            prepared: nn.Module = prepare_fx(
                copy.deepcopy(module).eval(), mapping, example_inputs(inputs)
            )
        except TraceError as error:
            raise QuantizeError(
                f"torch FX cannot trace the model ({error}); control flow on tensor values must go, "
                "or use torch-eager-static or torch-dynamic"
            ) from error
        except Exception as error:  # tracing runs the model's code, which may raise anything
            raise QuantizeError(
                f"torch FX cannot prepare the model ({type(error).__name__}: {error})"
            ) from error
    return prepared


def _converted(prepared: Any) -> nn.Module:
    from torch.ao.quantization.quantize_fx import convert_fx

    with quiet_torch_ao():
        try:
            converted: nn.Module = convert_fx(prepared)
        except (RuntimeError, ValueError, KeyError, AssertionError, TypeError) as error:
            raise QuantizeError(f"torch FX cannot convert the model: {error}") from error
    return converted.eval()
