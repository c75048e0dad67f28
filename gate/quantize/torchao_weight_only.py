"""torchao weight-only quantization: weights in 8, 4 or 2 bits, arithmetic in floating point.

The integers lie in memory and in the file as a byte each, however few bits their type has: sizes do not
shrink below those of int8. ``weight_bits`` tells what they would take if they were packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, chosen_modules
from gate.quantize._torchao import TorchaoMethod, swapped
from gate.quantize.base import OptionsError, QuantizeError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchaoWeightOnly(TorchaoMethod):
    """``Int8WeightOnlyConfig`` for linear layers in int8, ``IntxWeightOnlyConfig`` for all else."""

    name = "torchao-weight-only"
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

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:
        complete = super()._completed(options, target)
        if complete["weights"] == "int8" and not complete["symmetric"]:
            raise OptionsError(
                f"{self.name}: int8 weights are symmetric: drop 'symmetric'", option="symmetric"
            )
        return complete

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        names = chosen_modules(model.module, options, kept, method=self.name)
        group = options["group"]
        channels = {n: model.module.get_parameter(f"{n}.weight").shape[1] for n in names}
        odd = [name for name, number in channels.items() if group and number % group]
        if odd:
            raise QuantizeError(
                f"{self.name}: the input channels of {', '.join(odd)} are no multiple of the group of "
                f"{group}; choose another group, or name them in keep_float"
            )
        return swapped(model.module, names, lambda part: _config(part, options), method=self.name)


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
