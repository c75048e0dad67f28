"""Weights and biases that torch's quantized modules hold packed, as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor, nn

Weighted: TypeAlias = "tuple[Tensor, Tensor | None]"
"""Weight (quantized, or float16 where the kernel keeps that) and bias."""

LINEAR = "LinearPackedParamsBase"
CELL = "CellParamsBase"
_QUANTIZED_PACKAGES = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")


def is_quantized_module(module: nn.Module) -> bool:
    """True for torch.ao's own modules that work on integers or hold packed weights."""
    return f"{type(module).__module__}.".startswith(_QUANTIZED_PACKAGES)


def packed_kind(value: Any) -> str:
    """Class of a packed C++ object, such as ``LinearPackedParamsBase``."""
    return str(value._type().name())


def unpack_linear(value: Any) -> Weighted:
    """Weight and bias of packed linear parameters."""
    import torch

    weight, bias = value.__getstate__()[0]
    # A float16 kernel shows its weights as float32; they were rounded when they were packed.
    return (weight if weight.is_quantized else weight.to(torch.float16)), bias


def unpack(value: Any) -> list[Weighted] | None:
    """Weights and biases of a packed object; None where its kind is not known."""
    import torch

    kind = packed_kind(value)
    if kind == LINEAR:
        return [unpack_linear(value)]
    if kind == CELL:
        # torch pickles cells as (tag, tensors, doubles, longs, packed linear parameters).
        return [unpack_linear(part) for part in value.__getstate__()[0][-1]]
    for dims in (1, 2, 3):
        if kind == f"Conv{dims}dPackedParamsBase":
            return [getattr(torch.ops.quantized, f"conv{dims}d_unpack")(value)]
    return None


def module_weights(module: nn.Module) -> list[Weighted]:
    """Weights and biases that a quantized module holds packed, in order; empty where it has none."""
    import torch

    cells = getattr(module, "_all_weight_values", None)
    if cells is not None:
        return [pair for cell in cells for pair in unpack(cell.param) or []]
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not callable(weight) or isinstance(weight, torch.Tensor):
        return []
    value = weight()
    half = getattr(getattr(module, "_packed_params", None), "dtype", None) is torch.float16
    return [
        (
            value.to(torch.float16) if half else value,
            bias() if callable(bias) and not isinstance(bias, torch.Tensor) else None,
        )
    ]
