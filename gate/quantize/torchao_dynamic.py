"""torchao dynamic quantization: int8 weights, activations quantized in every run, integer products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, chosen_modules
from gate.quantize._torchao import TorchaoMethod, swapped

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel

# The option of the modules names classes, as the other methods do; torchao has one kernel for them.
_MODULES = {"modules": ["Linear"]}


class TorchaoDynamic(TorchaoMethod):
    """``Int8DynamicActivationInt8WeightConfig`` over the linear layers."""

    name = "torchao-dynamic"
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

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig
        from torchao.quantization.granularity import PerRow, PerTensor
        from torchao.quantization.quant_primitives import MappingType

        names = chosen_modules(model.module, {**options, **_MODULES}, kept, method=self.name)
        by_row = options["activations"] == "int8/per-row"
        config = Int8DynamicActivationInt8WeightConfig(
            act_mapping_type=MappingType.SYMMETRIC
            if options["symmetric"]
            else MappingType.ASYMMETRIC,
            granularity=[PerRow() if by_row else PerTensor(), PerRow()],
            # The setter would change Inductor's options for the whole process.
            set_inductor_config=False,
            reduce_range=options["reduce_range"],
        )
        return swapped(model.module, names, lambda _: config, method=self.name)
