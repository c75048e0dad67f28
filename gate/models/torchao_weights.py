"""Weights that torchao keeps in integers inside a tensor of its own class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGE = "torchao."


@dataclass(frozen=True, slots=True, kw_only=True)
class AoWeight:
    """What one such tensor holds."""

    values: Tensor
    """Integers in the weight's own shape, a byte each however few bits the type has."""
    dtype: str
    """The type whose range the integers keep to: ``int8``, ``int4``, ``int2`` ..."""
    scales: Tensor
    """One a block, in the order of the blocks."""
    zero_points: Tensor | None
    """As ``scales``; None where the integers are centred on zero."""
    block: tuple[int, ...]
    """Elements along each axis that share a scale."""
    integer_arithmetic: bool
    """True where the activations are quantized too, so that products are taken of integers; False
    where the weight is dequantized first."""


def is_torchao(value: object) -> bool:
    """True for a tensor of one of torchao's classes."""
    return f"{type(value).__module__}.".startswith(_PACKAGE)


def inner_tensors(value: Any) -> dict[str, Tensor]:
    """The plain tensors that a torchao tensor is made of, by their names in its class."""
    import torch

    names = (
        *getattr(value, "tensor_data_names", ()),
        *getattr(value, "optional_tensor_data_names", ()),
    )
    found = {name: getattr(value, name, None) for name in names}
    return {name: part for name, part in found.items() if isinstance(part, torch.Tensor)}


def ao_weight(value: Any) -> AoWeight | None:
    """What a torchao tensor holds; None for plain tensors and for classes without integers, scales
    and blocks."""
    if not is_torchao(value):
        return None
    parts: Mapping[str, Tensor] = inner_tensors(value)
    block = getattr(value, "block_size", None)
    if "qdata" not in parts or "scale" not in parts or block is None:
        return None
    kept = getattr(value, "target_dtype", None) or parts["qdata"].dtype
    zero_points = parts.get("zero_point")
    return AoWeight(
        values=parts["qdata"],
        dtype=str(kept).removeprefix("torch."),
        scales=parts["scale"],
        zero_points=zero_points if zero_points is not None and zero_points.any() else None,
        block=tuple(int(size) for size in block),
        integer_arithmetic=getattr(value, "act_quant_kwargs", None) is not None,
    )
