"""torch eager static post-training quantization: stubs, fused modules, observed ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._torch_eager import converted_eager, prepared_eager
from gate.quantize._torch_qconfig import eager_qconfig, qconfig_of
from gate.quantize._torch_static import STATIC_PROPERTIES, StaticMethod

if TYPE_CHECKING:
    from torch import nn


class TorchEagerStatic(StaticMethod):
    """``QuantStub``, ``fuse_modules``, ``prepare``, calibration and ``convert``."""

    name = "torch-eager-static"
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

    _nothing = "torch's eager flow found no module that it has integer kernels for"

    def _prepared(
        self,
        module: nn.Module,
        options: Mapping[str, JsonValue],
        kept: Sequence[str],
        inputs: Mapping[str, InputSpec],
    ) -> nn.Module:
        with quiet_torch_ao():
            return prepared_eager(
                module,
                inputs,
                kept,
                lambda part: eager_qconfig(part, options, qconfig_of),
                train=False,
                stubs=options["stubs"] == "auto",
                fuse=options["fuse"],
            )

    def _converted(self, prepared: nn.Module, inputs: Mapping[str, InputSpec]) -> nn.Module:
        with quiet_torch_ao():
            return converted_eager(prepared, inputs)
