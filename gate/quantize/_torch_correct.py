"""What calibration shows of each layer's input, and the bias that takes the mean error away.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.2, with the expected input measured on the calibration samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn import intrinsic
from torch.nn import functional

from gate.models.torch_packed import is_quantized_module
from gate.quantize.base import QuantizeError

_FUSED = (
    intrinsic.ConvReLU1d,
    intrinsic.ConvReLU2d,
    intrinsic.ConvReLU3d,
    intrinsic.LinearReLU,
)

MOST_ROWS = 1024
"""Rows of inputs kept a layer, for the learned rounding."""
_IMAGES, _PLACES = 8, 16
"""Of each batch: samples, and places of each."""


@dataclass(slots=True, kw_only=True)
class Observed:
    """One float layer and the sums over its inputs."""

    layer: Any
    """``nn.Linear`` or ``nn.Conv1d``, ``2d``, ``3d``, batch norm folded in."""
    relu: bool
    total: Tensor | None = None
    """Sum over the samples, of one sample's shape."""
    count: int = 0
    """Samples."""
    rows: list[Tensor] = field(default_factory=list)
    """What single outputs are made from: (row, group, element)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correctable:
    """A quantized layer beside the float one that it was made from."""

    name: str
    quantized: Any
    observed: Observed


class Recorder:
    """Records the inputs of the layers of a prepared network while it is calibrated.

    Args:
        prepared: the network with observers, batch norm folded.
        rows: keep rows of inputs as well as sums.
        seed: which of them.
    """

    def __init__(self, prepared: nn.Module, *, rows: bool, seed: int) -> None:
        self._rows = rows
        self._generator = torch.Generator().manual_seed(seed)
        self._observed = dict(_layers(prepared))
        self._prepared = prepared
        self._handles: list[Any] = []

    def __enter__(self) -> Recorder:
        for name, observed in self._observed.items():
            part = self._prepared.get_submodule(name)
            self._handles.append(part.register_forward_pre_hook(self._hook(observed)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def layers_of(self, converted: nn.Module) -> list[Correctable]:
        """The layers that were quantized and have seen samples, in order."""
        found = []
        for name, observed in self._observed.items():
            part = converted.get_submodule(name)
            if observed.count and is_quantized_module(part) and hasattr(part, "set_weight_bias"):
                found.append(Correctable(name=name, quantized=part, observed=observed))
        return found

    def _hook(self, observed: Observed) -> Callable[[Any, Any], None]:
        def record(_part: Any, given: tuple[Tensor, ...]) -> None:
            x = given[0].detach()
            if observed.total is not None and observed.total.shape != x.shape[1:]:
                raise QuantizeError(
                    "correct: the calibration samples give a layer inputs of several sizes, "
                    f"{list(observed.total.shape)} and {list(x.shape[1:])}; give samples of one size"
                )
            total = x.double().sum(dim=0)
            observed.total = total if observed.total is None else observed.total + total
            observed.count += len(x)
            if self._rows and sum(map(len, observed.rows)) < MOST_ROWS:
                observed.rows.append(self._some_rows(observed.layer, x))

        return record

    def _some_rows(self, layer: Any, x: Tensor) -> Tensor:
        """(rows, groups, elements of a group) of a few samples of a batch."""
        chosen = x[torch.randperm(len(x), generator=self._generator)[:_IMAGES]]
        if not isinstance(layer, nn.Linear):
            return _patches(layer, chosen, self._generator)
        rows = chosen.reshape(-1, 1, chosen.shape[-1])
        return rows[torch.randperm(len(rows), generator=self._generator)[: _IMAGES * _PLACES]]


def dequantized_weight(quantized: Any) -> Tensor:
    """The weight that the integer kernel computes with."""
    found: Tensor = quantized.weight().dequantize()
    return found


def correct_biases(layers: Sequence[Correctable]) -> None:
    """Subtract from each bias the mean that the error of the weights adds to the output.

    E[(W_q - W) x] = (W_q - W) E[x], averaged over the places of the output.
    """
    for layer in layers:
        weight, bias = layer.quantized.weight(), layer.quantized.bias()
        observed = layer.observed
        mean = _mean_input(observed).unsqueeze(0)
        error = dequantized_weight(layer.quantized) - observed.layer.weight.detach()
        if isinstance(observed.layer, nn.Linear):
            shift = functional.linear(mean, error).reshape(-1, len(error)).mean(dim=0)
        else:
            shift = observed.layer._conv_forward(mean, error, None)
            shift = shift.transpose(0, 1).flatten(1).mean(dim=1)
        before = bias.detach() if bias is not None else torch.zeros(len(error))
        layer.quantized.set_weight_bias(weight, before - shift)


def _mean_input(observed: Observed) -> Tensor:
    total: Any = observed.total  # there, since samples were counted
    mean: Tensor = (total / observed.count).to(torch.float32)
    return mean


def _layers(prepared: nn.Module) -> list[tuple[str, Observed]]:
    found = []
    inside: set[int] = set()
    for name, part in prepared.named_modules():
        if id(part) in inside:
            continue
        layer, relu = part, False
        if isinstance(part, _FUSED):
            inside.update(map(id, part.modules()))
            layer, relu = part[0], any(isinstance(p, nn.ReLU) for p in part)
        if type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
            found.append((name, Observed(layer=layer, relu=relu)))
    return found


def _patches(layer: Any, x: Tensor, generator: torch.Generator) -> Tensor:
    """(samples x places, groups, channels of a group x kernel) of a convolution's input, at places
    that are drawn, the same for all samples."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    dims = x.dim() - 2
    for axis in range(dims):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
        x = x.unfold(2 + axis, reach, layer.stride[axis])[..., :: layer.dilation[axis]]
    places = [
        torch.randint(x.shape[2 + axis], (_PLACES,), generator=generator) for axis in range(dims)
    ]
    # (sample, channel, place, kernel ...) -> (sample, place, channel, kernel ...)
    index: tuple[Any, ...] = (slice(None), slice(None), *places)
    chosen = x[index].transpose(1, 2)
    return chosen.reshape(len(x) * _PLACES, layer.groups, -1)
