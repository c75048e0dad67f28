"""torch's FX flow: prepare and convert, and what they refuse in words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn


def prepared_fx(
    prepare: Callable[..., nn.Module],
    module: nn.Module,
    mapping: Any,
    inputs: Mapping[str, InputSpec],
    *,
    instead: str,
) -> nn.Module:
    """A traced copy with observers or fake-quantizers.

    It is traced in evaluation mode: tracing writes down what the model's own code makes of `training`,
    and a stochastic depth or a second head that is active then would be so for ever.

    Args:
        prepare: ``prepare_fx`` or ``prepare_qat_fx``.
        module: the float network.
        mapping: the ``QConfigMapping``.
        inputs: its declared inputs.
        instead: what to use where the model cannot be traced, for messages.

    Raises:
        QuantizeError: torch cannot trace or prepare the model.
    """
    from torch.fx.proxy import TraceError

    with quiet_torch_ao():
        try:
            return prepare(copy.deepcopy(module).eval(), mapping, example_inputs(inputs))
        except TraceError as error:
            raise QuantizeError(
                f"torch FX cannot trace the model ({error}); control flow on tensor values must go, "
                f"or use {instead}"
            ) from error
        except Exception as error:  # tracing runs the model's code, which may raise anything
            raise QuantizeError(
                f"torch FX cannot prepare the model ({type(error).__name__}: {error})"
            ) from error


def converted_fx(prepared: Any) -> nn.Module:
    """The integer network of a prepared one.

    Raises:
        QuantizeError: torch cannot convert the model.
    """
    from torch.ao.quantization.quantize_fx import convert_fx

    with quiet_torch_ao():
        try:
            converted: nn.Module = convert_fx(prepared)
        except (RuntimeError, ValueError, KeyError, AssertionError, TypeError) as error:
            raise QuantizeError(f"torch FX cannot convert the model: {error}") from error
    return converted.eval()
