"""torchao weight-only quantization: weights in 8, 4 or 2 bits, arithmetic in floating point.

The integers lie in memory and in the file as a byte each, however few bits their type has: sizes do not
shrink below those of int8. ``weight_bits`` tells what they would take if they were packed.
"""

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
from gate.quantize.base import CalibrationBatches, QuantizeError, with_defaults

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchaoWeightOnly:
    """``Int8WeightOnlyConfig`` for linear layers in int8, ``IntxWeightOnlyConfig`` for all else."""

    name: ClassVar[str] = "torchao-weight-only"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "weights": {
                "enum": ["int8", "int4", "int2"],
                "default": "int8",
                "description": "type of the weights",
            },
            "group": {
                "type": ["integer", "null"],
                "minimum": 2,
                "default": None,
                "description": "input channels that share a scale; null for a scale an output channel",
            },
            "symmetric": {
                "type": "boolean",
                "default": True,
                "description": "no zero points; false for int4 and int2 alone",
            },
            "modules": {
                "type": "array",
                "items": {"enum": ["Linear", "Conv2d"]},
                "minItems": 1,
                "uniqueItems": True,
                "default": ["Linear"],
                "description": "classes of torch.nn that are quantized",
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
        if complete["weights"] == "int8" and not complete["symmetric"]:
            raise QuantizeError("torchao-weight-only: int8 weights are symmetric: drop 'symmetric'")
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
    method = TorchaoWeightOnly.name
    names = chosen_modules(module, options, kept, method=method)
    group = options["group"]
    channels = {name: module.get_parameter(f"{name}.weight").shape[1] for name in names}
    odd = [name for name, number in channels.items() if group and number % group]
    if odd:
        raise QuantizeError(
            f"{method}: the input channels of {', '.join(odd)} are no multiple of the group of {group}; "
            "choose another group, or name them in keep_float"
        )
    return swapped(module, names, lambda part: _config(part, options), method=method)


def _config(part: nn.Module, options: Mapping[str, JsonValue]) -> Any:
    import torch
    from torch import nn
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig
    from torchao.quantization.granularity import PerAxis, PerGroup, PerRow
    from torchao.quantization.quant_primitives import MappingType

    group = options["group"]
    if options["weights"] == "int8" and isinstance(part, nn.Linear):
        # The setter of Inductor's options would change them for the whole process.
        return Int8WeightOnlyConfig(
            granularity=PerGroup(group) if group else PerRow(), set_inductor_config=False
        )
    return IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, options["weights"]),
        granularity=PerGroup(group) if group else PerAxis(0),
        mapping_type=MappingType.SYMMETRIC if options["symmetric"] else MappingType.ASYMMETRIC,
    )
