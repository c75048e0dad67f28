"""torch eager static post-training quantization: stubs, fused modules, observed ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, Options, TargetSpec
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


class TorchEagerStatic:
    """``QuantStub``, ``fuse_modules``, ``prepare``, calibration and ``convert``."""

    name: ClassVar[str] = "torch-eager-static"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = True
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "stubs": {
                "enum": ["auto", "own"],
                "default": "auto",
                "description": "auto puts them at the inputs and outputs of a model that has none; own takes "
                "the model as it is",
            },
            "fuse": {
                "type": "boolean",
                "default": True,
                "description": "convolution, batch norm and ReLU become one module first",
            },
            **STATIC_PROPERTIES,
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
                convert=lambda module: _converted(module, inputs),
                options=complete,
                seed=seed,
            )
            if not computes_quantized(quantized):
                raise QuantizeError(
                    "nothing was quantized: torch's eager flow found no module that it has integer kernels "
                    f"for; the model is made of {module_kinds(model.module)}, kept in float: "
                    f"{told(complete['keep_float']) or 'nothing'}"
                )
            return write_artifact(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The converted modules, their ranges from the file instead of from calibration; see
        ``RestoringQuantizer.restore``."""
        options, inputs = artifact.options, model.spec.inputs
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = remembered_kept(model.module, options)
            quantized = _converted(_prepared(model.module, options, kept, inputs), inputs)
            load_state(quantized, artifact.path)
        return quantized


def _prepared(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    kept: Sequence[str],
    inputs: Mapping[str, InputSpec],
) -> nn.Module:
    from gate.quantize._torch_eager import prepared_eager
    from gate.quantize._torch_qconfig import eager_qconfig

    with quiet_torch_ao():
        return prepared_eager(
            module,
            inputs,
            kept,
            lambda part: eager_qconfig(part, options),
            train=False,
            stubs=options["stubs"] == "auto",
            fuse=options["fuse"],
        )


def _converted(prepared: nn.Module, inputs: Mapping[str, InputSpec]) -> nn.Module:
    from gate.quantize._torch_eager import converted_eager

    with quiet_torch_ao():
        return converted_eager(prepared, inputs)
