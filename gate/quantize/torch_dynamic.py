"""torch eager dynamic quantization: packed weights, activations quantized batch by batch at run time."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.torch_runtime import (
    ao_unavailable,
    engine_of,
    quiet_torch_ao,
    torch_settings,
)
from gate.quantize._torch_common import (
    KEEP_FLOAT_SCHEMA,
    module_kinds,
    remembered_kept,
    resolve_kept,
    torch_versions,
    write_artifact,
)
from gate.quantize._torch_state import load_state
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults
from gate.quantize.keep_float import told

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchDynamic:
    """``torch.ao.quantization.quantize_dynamic`` over the chosen module types."""

    name: ClassVar[str] = "torch-dynamic"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "modules": {
                "type": "array",
                "items": {"enum": ["Linear", "LSTM", "GRU"]},
                "minItems": 1,
                "uniqueItems": True,
                "default": ["Linear", "LSTM", "GRU"],
                "description": "classes of torch.nn that are quantized",
            },
            "dtype": {
                "enum": ["qint8", "float16"],
                "default": "qint8",
                "description": "of the weights; float16 computes in floating point (x86, fbgemm)",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
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
        """Quantize and write the state; see ``Quantizer.quantize``."""
        complete = with_defaults(options, self.options_schema)
        engine = engine_of(target.options)
        with torch_settings(engine=engine, threads=target.threads):
            kept = resolve_kept(
                model.module, complete, inputs=model.spec.inputs, calibration=calibration
            )
            try:
                quantized = _quantized(model.module, complete, kept)
            except RuntimeError as error:
                raise QuantizeError(f"torch-dynamic with engine {engine}: {error}") from error
            return write_artifact(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The quantized module around the float one; see ``RestoringQuantizer.restore``."""
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = remembered_kept(model.module, artifact.options)
            quantized = _quantized(model.module, artifact.options, kept)
            load_state(quantized, artifact.path)
        return quantized


def _quantized(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str]
) -> nn.Module:
    import torch
    from torch import nn
    from torch.ao import quantization

    kinds = tuple(getattr(nn, name) for name in options["modules"])
    # Subclasses are left out by torch.ao too; the root module cannot be swapped.
    chosen = [
        name
        for name, part in module.named_modules()
        if name
        and type(part) in kinds
        and not any(name == k or name.startswith(f"{k}.") for k in kept)
    ]
    if not chosen:
        raise QuantizeError(
            f"nothing to quantize: torch-dynamic was told to quantize {', '.join(options['modules'])}"
            f"{' except ' + told(options['keep_float']) if kept else ''}; "
            f"the model is made of {module_kinds(module)}"
        )
    half = options["dtype"] == "float16"
    qconfig = quantization.float16_dynamic_qconfig if half else quantization.default_dynamic_qconfig
    with quiet_torch_ao():
        quantized: nn.Module = quantization.quantize_dynamic(
            copy.deepcopy(module),
            dict.fromkeys(chosen, qconfig),
            dtype=torch.float16 if half else torch.qint8,
        )
    return quantized.eval()
