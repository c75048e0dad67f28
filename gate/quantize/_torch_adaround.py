"""Rounding up or down of each weight, learned to keep the layer's output.

Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization": the soft
rounding h(V), its regulariser with a falling exponent, and the output after the activation as what
is kept. Layers are learned one by one on the float network's own inputs to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gate.quantize._torch_correct import Correctable

_STRETCH = (-0.1, 1.1)
"""Ends of the stretched sigmoid, which is cut at 0 and 1."""
_EXPONENTS = (20.0, 2.0)
_WARM_UP = 0.2
"""Of the steps, without regulariser."""
_WEIGHT_OF_REGULARISER = 2.0
"""Against the error relative to that of rounding to the nearest."""
_LEARNING_RATE = 0.02
_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """One layer by groups: rows (n, g, k), weights (g, o, k)."""

    rows: Tensor
    weight: Tensor
    scales: Tensor
    """(g, o, 1)"""
    zero_points: Tensor
    """(g, o, 1)"""
    bias: Tensor
    """(g, o)"""
    relu: bool

    def output(self, weight: Tensor, rows: Tensor) -> Tensor:
        made = torch.einsum("ngk,gok->ngo", rows, weight) + self.bias
        return made.relu() if self.relu else made

    def errors(self, weight: Tensor) -> Tensor:
        """Squared error by output channel, (g, o)."""
        wanted = self.output(self.weight, self.rows)
        return (self.output(weight, self.rows) - wanted).square().sum(dim=0)

    def steps(self, up: Tensor) -> Tensor:
        """Weights in units of their scales, each rounded down and up by so much."""
        return self._limited(torch.floor(self.weight / self.scales) + up)

    def nearest(self) -> Tensor:
        return self._limited(torch.round(self.weight / self.scales))

    def _limited(self, steps: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(steps, 127 - self.zero_points), -128 - self.zero_points)


def round_learned(layers: Sequence[Correctable], *, iterations: int, seed: int) -> None:
    """Replace the stored weights of each layer; scales and zero points stay.

    An output channel whose learned rounding is no better on the rows than rounding to the nearest
    keeps the latter.
    """
    for place, layer in enumerate(layers):
        generator = torch.Generator().manual_seed(seed + place)
        weight, bias = layer.quantized.weight(), layer.quantized.bias()
        problem = _problem(layer, weight)
        learned = _learn(problem, iterations, generator)
        nearest = problem.nearest()
        better = problem.errors(learned * problem.scales) < problem.errors(nearest * problem.scales)
        chosen = torch.where(better.unsqueeze(-1), learned, nearest) + problem.zero_points
        integers = chosen.reshape(weight.shape).to(torch.int8)
        layer.quantized.set_weight_bias(_with_integers(weight, integers), bias)


def _problem(layer: Correctable, weight: Tensor) -> _Problem:
    rows = torch.cat(layer.observed.rows)
    groups, inner = rows.shape[1:]
    float_layer = layer.observed.layer
    shape = (groups, weight.shape[0] // groups, 1)
    if _by_channel(weight):
        scales = weight.q_per_channel_scales().to(torch.float32).reshape(shape)
        zero_points = weight.q_per_channel_zero_points().to(torch.float32).reshape(shape)
    else:
        scales = torch.full(shape, weight.q_scale())
        zero_points = torch.full(shape, float(weight.q_zero_point()))
    bias = float_layer.bias
    return _Problem(
        rows=rows,
        weight=float_layer.weight.detach().reshape(groups, -1, inner),
        scales=scales,
        zero_points=zero_points,
        bias=(bias.detach() if bias is not None else torch.zeros(len(weight))).reshape(shape[:2]),
        relu=layer.observed.relu,
    )


def _learn(problem: _Problem, iterations: int, generator: torch.Generator) -> Tensor:
    low, high = _STRETCH
    fraction = problem.weight / problem.scales - torch.floor(problem.weight / problem.scales)
    start = torch.logit(((fraction - low) / (high - low)).clamp(1e-4, 1 - 1e-4))
    soft = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([soft], lr=_LEARNING_RATE)
    wanted = problem.output(problem.weight, problem.rows)
    nearest = problem.nearest()
    unit = problem.errors(nearest * problem.scales).sum() / len(problem.rows)
    if not float(unit):
        return nearest
    warm = int(_WARM_UP * iterations)
    for step in range(iterations):
        chosen = torch.randint(len(problem.rows), (_BATCH,), generator=generator)
        up = (torch.sigmoid(soft) * (high - low) + low).clamp(0, 1)
        made = problem.output(problem.steps(up) * problem.scales, problem.rows[chosen])
        loss = (made - wanted[chosen]).square().sum() / (len(chosen) * unit)
        if step >= warm:
            share = (step - warm) / max(iterations - warm, 1)
            exponent = _EXPONENTS[0] + share * (_EXPONENTS[1] - _EXPONENTS[0])
            loss = loss + _WEIGHT_OF_REGULARISER * (1 - (2 * up - 1).abs().pow(exponent)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    up = (torch.sigmoid(soft.detach()) * (high - low) + low).clamp(0, 1)
    return problem.steps(torch.round(up))


def _by_channel(weight: Tensor) -> bool:
    return weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)


def _with_integers(weight: Tensor, integers: Tensor) -> Tensor:
    """A quantized tensor as ``weight`` with other integers."""
    if _by_channel(weight):
        return torch._make_per_channel_quantized_tensor(
            integers,
            weight.q_per_channel_scales(),
            weight.q_per_channel_zero_points(),
            weight.q_per_channel_axis(),
        )
    return torch._make_per_tensor_quantized_tensor(
        integers, weight.q_scale(), weight.q_zero_point()
    )
