"""Prepare and convert for quantization-aware training, in torch's two flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._torch_eager import converted_eager, prepared_eager
from gate.quantize._torch_fx import converted_fx, prepared_fx
from gate.quantize._torch_qat_qconfig import qat_mapping, qat_qconfig
from gate.quantize._torch_qconfig import eager_qconfig

if TYPE_CHECKING:
    from torch import nn


def prepared(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    kept: Sequence[str],
    inputs: Mapping[str, InputSpec],
) -> nn.Module:
    """A copy with fake-quantizers, in training mode.

    Raises:
        QuantizeError: torch cannot trace or prepare the model.
    """
    if options["flow"] == "eager":
        with quiet_torch_ao():
            return prepared_eager(
                module,
                inputs,
                kept,
                lambda part: eager_qconfig(part, options, qat_qconfig),
                train=True,
            )
    from torch.ao.quantization.quantize_fx import prepare_qat_fx

    mapping = qat_mapping(options, kept)
    return prepared_fx(prepare_qat_fx, module, mapping, inputs, instead="flow: eager").train()


def converted(
    trained: nn.Module, options: Mapping[str, JsonValue], inputs: Mapping[str, InputSpec]
) -> nn.Module:
    """The integer network of a prepared one.

    Raises:
        QuantizeError: torch cannot convert the model.
    """
    if options["flow"] == "eager":
        with quiet_torch_ao():
            return converted_eager(trained, inputs)
    return converted_fx(trained.eval())
