"""torch FX static post-training quantization: ranges observed on calibration samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.quantize._torch_fx import converted_fx, prepared_fx
from gate.quantize._torch_qconfig import qconfig_mapping
from gate.quantize._torch_static import STATIC_PROPERTIES, StaticMethod

if TYPE_CHECKING:
    from torch import nn


class TorchFxStatic(StaticMethod):
    """``prepare_fx``, calibration and ``convert_fx``."""

    name = "torch-fx-static"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": STATIC_PROPERTIES,
    }
    _nothing = "torch FX found no layer that it has integer kernels for"

    def _prepared(
        self,
        module: nn.Module,
        options: Mapping[str, JsonValue],
        kept: Sequence[str],
        inputs: Mapping[str, InputSpec],
    ) -> nn.Module:
        from torch.ao.quantization.quantize_fx import prepare_fx

        mapping = qconfig_mapping(options, kept)
        return prepared_fx(
            prepare_fx, module, mapping, inputs, instead="torch-eager-static or torch-dynamic"
        )

    def _converted(self, prepared: nn.Module, inputs: Mapping[str, InputSpec]) -> nn.Module:  # noqa: ARG002
        return converted_fx(prepared)
