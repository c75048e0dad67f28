"""torchao dynamic quantization: int8 weights, activations quantized in every run, integer products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.torch_runtime import engine_of, torch_settings
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, remembered_kept, resolve_kept
from gate.quantize._torchao import (
    chosen_modules,
    read_state,
    swapped,
    torchao_unavailable,
    torchao_versions,
    write_state,
)
from gate.quantize.base import CalibrationBatches, with_defaults

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel

# The option of the modules names classes, as the other methods do; torchao has one kernel for them.
_MODULES = {"modules": ["Linear"]}


class TorchaoDynamic:
    """``Int8DynamicActivationInt8WeightConfig`` over the linear layers."""

    name: ClassVar[str] = "torchao-dynamic"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "activations": {
                "enum": ["int8/per-row", "int8/per-tensor"],
                "default": "int8/per-row",
                "description": "a scale for each row that enters a layer, or for all of them",
            },
            "symmetric": {
                "type": "boolean",
                "default": True,
                "description": "activations without zero points",
            },
            "reduce_range": {
                "type": "boolean",
                "default": False,
                "description": "7 bits, so that sums of 16 bits do not saturate without VNNI",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
        },
    }

    def unavailable(self) -> str | None:
        """Why torchao is not here, or None."""
        return torchao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torchao_versions()

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
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = resolve_kept(
                model.module, complete, inputs=model.spec.inputs, calibration=calibration
            )
            quantized = _quantized(model.module, complete, kept)
            return write_state(quantized, producer=self.name, options=complete, out_dir=out_dir)

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return tuple(name for name, _ in model.module.named_modules() if name)

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """The quantized network around the float one; see ``RestoringQuantizer.restore``."""
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = remembered_kept(model.module, artifact.options)
            quantized = _quantized(model.module, artifact.options, kept)
            read_state(quantized, artifact.path)
        return quantized


def _quantized(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str]
) -> nn.Module:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig
    from torchao.quantization.granularity import PerRow, PerTensor
    from torchao.quantization.quant_primitives import MappingType

    names = chosen_modules(module, {**options, **_MODULES}, kept, method=TorchaoDynamic.name)
    by_row = options["activations"] == "int8/per-row"
    config = Int8DynamicActivationInt8WeightConfig(
        act_mapping_type=MappingType.SYMMETRIC if options["symmetric"] else MappingType.ASYMMETRIC,
        granularity=[PerRow() if by_row else PerTensor(), PerRow()],
        # The setter would change Inductor's options for the whole process.
        set_inductor_config=False,
        reduce_range=options["reduce_range"],
    )
    return swapped(module, names, lambda _: config, method=TorchaoDynamic.name)
