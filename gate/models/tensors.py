"""Names and example values of a torch model's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_DYNAMIC_SIZE = 8
"""Example size of a dynamic axis other than the batch."""


def name_outputs(result: Any) -> dict[str, Tensor]:
    """Name what a forward pass returned: ``output`` for one tensor, ``output_0``, ``output_1`` ...
    for a sequence, and a mapping's own keys.

    Raises:
        ModelError: something else than tensors came back.
    """
    import torch

    if isinstance(result, torch.Tensor):
        return {"output": result}
    if isinstance(result, Mapping):
        named = {str(key): value for key, value in result.items() if value is not None}
    elif isinstance(result, tuple | list):
        named = {f"output_{i}": value for i, value in enumerate(result)}
    else:
        named = {"output": result}
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"the model's {name} is of type {type(value).__name__}; expected a tensor, a flat "
                "sequence of tensors, or a mapping of names to tensors"
            )
    if not named:
        raise ModelError("the model returns no tensor")
    return named


def dynamic_axes(inputs: Mapping[str, InputSpec]) -> tuple[dict[int, Any], ...]:
    """Of each input in the spec's order: axis -> ``torch.export.Dim``, where the spec names the axis;
    axes of one name are of one size."""
    import torch

    dims = {
        axis: torch.export.Dim(axis)
        for spec in inputs.values()
        for axis in spec.shape
        if isinstance(axis, str)
    }
    return tuple(
        {place: dims[axis] for place, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in inputs.values()
    )


def example_inputs(inputs: Mapping[str, InputSpec], *, batch: int = 2) -> tuple[Tensor, ...]:
    """Inputs of the declared shapes and types, in the spec's order, that exercise a forward pass.

    Floating-point inputs are drawn from a standard normal distribution with a fixed seed, integer
    and boolean ones are zero (an index that every embedding has).

    Raises:
        ModelError: a type that torch does not have.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    made = []
    for name, spec in inputs.items():
        dtype = getattr(torch, spec.dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise ModelError(f"input '{name}': torch has no type '{spec.dtype}'")
        shape = [
            size if isinstance(size, int) else batch if axis == 0 else _DYNAMIC_SIZE
            for axis, size in enumerate(spec.shape)
        ]
        if dtype.is_floating_point:
            made.append(torch.randn(shape, generator=generator).to(dtype))
        else:
            made.append(torch.zeros(shape, dtype=dtype))
    return tuple(made)
