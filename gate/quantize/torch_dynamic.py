"""torch eager dynamic quantization: packed weights, activations quantized batch by batch at run time."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, chosen_modules
from gate.quantize._torch_method import TorchMethod, TorchWork
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchDynamic(TorchMethod):
    """``torch.ao.quantization.quantize_dynamic`` over the chosen module types."""

    name = "torch-dynamic"
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

    def _made(self, work: TorchWork) -> nn.Module:
        try:
            return super()._made(work)
        except RuntimeError as error:
            raise QuantizeError(f"{self.name} with engine {work.engine}: {error}") from error

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        import torch
        from torch.ao import quantization

        # Subclasses are left out by torch.ao too; the root module cannot be swapped.
        chosen = chosen_modules(model.module, options, kept, method=self.name)
        half = options["dtype"] == "float16"
        qconfig = (
            quantization.float16_dynamic_qconfig if half else quantization.default_dynamic_qconfig
        )
        with quiet_torch_ao():
            quantized: nn.Module = quantization.quantize_dynamic(
                copy.deepcopy(model.module),
                dict.fromkeys(chosen, qconfig),
                dtype=torch.float16 if half else torch.qint8,
            )
        return quantized.eval()
