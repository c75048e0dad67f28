"""torch in 16 bits: weights and arithmetic in float16 or bfloat16, inputs and outputs as they were."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.canonical import JsonValue
from gate.models.tensors import example_inputs
from gate.models.torch_runtime import torch_unavailable
from gate.quantize._torch_around import around, mapped
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA, made_of
from gate.quantize._torch_method import TorchMethod, TorchWork
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


class TorchCast(TorchMethod):
    """``module.to(dtype)``, with the inputs cast on their way in and the outputs back to float32."""

    name = "torch-cast"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "dtype": {
                "enum": ["float16", "bfloat16"],
                "description": "float16 has 11 bits of precision and ends at 65504, bfloat16 has 8 bits and "
                "the range of float32",
            },
            "keep_float": KEEP_FLOAT_SCHEMA,
        },
        "required": ["dtype"],
    }

    def unavailable(self) -> str | None:
        """Why torch is not here, or None."""
        return torch_unavailable()

    def _made(self, work: TorchWork) -> nn.Module:
        cast, dtype = super()._made(work), work.options["dtype"]
        if not _has_weights_of(cast, dtype):
            raise QuantizeError(
                f"nothing was cast to {dtype}: {made_of(work.model.module, work.options)}"
            )
        _try(cast, work.model, dtype)
        return cast

    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        return _cast(model.module, options["dtype"], kept, len(model.spec.inputs))


def _cast(module: nn.Module, name: str, kept: Sequence[str], inputs: int) -> nn.Module:
    """A copy in 16 bits; the modules ``kept`` stay in float32 and cast at their own borders."""
    import torch

    dtype = getattr(torch, name)
    cast = copy.deepcopy(module).to(dtype)
    for path in kept:
        _in_dtype(cast.get_submodule(path).to(torch.float32), torch.float32, dtype, None)
    _in_dtype(cast, dtype, torch.float32, inputs)
    return cast.eval()


def _in_dtype(module: nn.Module, inside: Any, outside: Any, inputs: int | None) -> None:
    def enter(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(mapped(value, lambda tensor: tensor.to(inside)) for value in given)

    def leave(_: Any, result: Any) -> Any:
        return mapped(result, lambda tensor: tensor.to(outside))

    around(module, inputs=inputs, enter=enter, leave=leave)


def _has_weights_of(module: nn.Module, name: str) -> bool:
    return any(str(p.dtype) == f"torch.{name}" and p.dim() > 1 for p in module.parameters())


def _try(module: nn.Module, model: LoadedModel, dtype: str) -> None:
    import torch

    try:
        with torch.inference_mode():
            module(*example_inputs(model.spec.inputs))
    # NotImplementedError is what torch raises where it has no kernel in the type.
    except (RuntimeError, NotImplementedError, TypeError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise QuantizeError(
            f"the model does not run in {dtype} on this processor: {first} Keep that layer in float "
            "(keep_float)" + (", or use dtype: bfloat16" if dtype == "float16" else "")
        ) from error
