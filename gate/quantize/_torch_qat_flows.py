"""Prepare and convert for quantization-aware training, in torch's two flows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize._torch_eager import converted_eager, prepared_eager
from gate.quantize._torch_qat_qconfig import qat_mapping, qat_qconfig
from gate.quantize.base import QuantizeError

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
    with quiet_torch_ao():
        if options["flow"] == "eager":
            return prepared_eager(
                module, inputs, kept, lambda part: _eager_qconfig(part, options), train=True
            )
        return _prepared_fx(module, options, kept, inputs)


def converted(
    trained: nn.Module, options: Mapping[str, JsonValue], inputs: Mapping[str, InputSpec]
) -> nn.Module:
    """The integer network of a prepared one.

    Raises:
        QuantizeError: torch cannot convert the model.
    """
    from torch.ao.quantization.quantize_fx import convert_fx

    with quiet_torch_ao():
        if options["flow"] == "eager":
            return converted_eager(trained, inputs)
        try:
            graph: Any = trained.eval()
            return convert_fx(graph).eval()
        except (RuntimeError, ValueError, KeyError, AssertionError, TypeError) as error:
            raise QuantizeError(f"torch FX cannot convert the model: {error}") from error


def _prepared_fx(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    kept: Sequence[str],
    inputs: Mapping[str, InputSpec],
) -> nn.Module:
    from torch.ao.quantization.quantize_fx import prepare_qat_fx
    from torch.fx.proxy import TraceError

    try:
        # Traced in evaluation mode: tracing writes down what the model's own code makes of `training`,
        # and a stochastic depth or a second head that is active then would be so for ever.
        traced: nn.Module = prepare_qat_fx(
            copy.deepcopy(module).eval(), qat_mapping(options, kept), example_inputs(inputs)
        )
        return traced.train()
    except TraceError as error:
        raise QuantizeError(
            f"torch FX cannot trace the model ({error}); control flow on tensor values must go, or use "
            "flow: eager"
        ) from error
    except Exception as error:  # tracing runs the model's code, which may raise anything
        raise QuantizeError(
            f"torch FX cannot prepare the model ({type(error).__name__}: {error})"
        ) from error


def _eager_qconfig(part: nn.Module, options: Mapping[str, JsonValue]) -> Any:
    from torch import nn

    # Looked up or recurrent: no static integer kernels in this flow.
    if isinstance(part, nn.Embedding | nn.EmbeddingBag | nn.RNNBase | nn.MultiheadAttention):
        return None
    transposed = isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    return qat_qconfig(options, per_channel=False if transposed else None)
