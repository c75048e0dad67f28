"""The 2:4 pattern of sparse kernels: of every four weights of consecutive input channels, two are zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

GROUP, KEPT = 4, 2
PRUNABLE = ("Conv1d", "Conv2d", "Conv3d", "Linear")
"""Classes of torch.nn, subclasses left out, whose weight has the input channels on axis 1."""


def prunable(module: nn.Module, dense: Sequence[str]) -> list[str]:
    """Paths of the modules that can hold the pattern and are not to stay dense."""
    return [
        name
        for name, part in module.named_modules()
        if type(part).__name__ in PRUNABLE
        and type(part).__module__.startswith("torch.nn.")
        and part.weight.shape[1] % GROUP == 0
        and not any(name == d or name.startswith(f"{d}.") for d in dense)
    ]


def mask_2_4(weight: Tensor) -> Tensor:
    """True for the two weights of largest magnitude of every four along axis 1 (the first ones,
    where magnitudes are equal), at each output channel and position."""
    import torch

    groups = weight.detach().movedim(1, -1)
    magnitudes = groups.reshape(-1, GROUP).abs()
    chosen = magnitudes.argsort(dim=1, descending=True, stable=True)[:, :KEPT]
    mask = torch.zeros_like(magnitudes, dtype=torch.bool).scatter_(1, chosen, value=True)
    return mask.reshape(groups.shape).movedim(-1, 1).contiguous()


def prune(module: nn.Module, names: Sequence[str]) -> None:
    """Set all but the masked weights of the modules ``names`` to zero, and keep them there in training
    until :func:`settle`."""
    from torch.nn.utils import parametrize

    for name in names:
        part = module.get_submodule(name)
        parametrize.register_parametrization(part, "weight", _masked(mask_2_4(part.weight)))  # type: ignore[arg-type]


def settle(module: nn.Module, names: Sequence[str]) -> None:
    """Make the pruned weights plain parameters again."""
    from torch.nn.utils import parametrize

    for name in names:
        parametrize.remove_parametrizations(module.get_submodule(name), "weight")


def _masked(mask: Tensor) -> nn.Module:
    from torch import nn

    class Masked(nn.Module):
        mask: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight: Tensor) -> Tensor:
            return weight * self.mask

    return Masked()
