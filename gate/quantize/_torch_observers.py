"""Observers that torch does not have: a share of the values, and the least squared error.

Imports torch when it is imported: only from inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.ao.quantization import HistogramObserver
from torch.ao.quantization.observer import UniformQuantizationObserverBase

_STEPS = 80
_SMALLEST = 0.2
"""Of the whole range: clipping more than that never pays for 8 bits."""


class PercentileObserver(HistogramObserver):
    """The range that leaves (100 - ``percentile``) / 2 per cent of the values out on either side.

    From torch's running histogram: exact to a bin, the 2048th part of the range.
    """

    def __init__(self, *, percentile: float = 99.99, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.percentile = percentile

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        share = (100.0 - self.percentile) / 200.0
        kept = torch.cumsum(self.histogram.double(), 0) / self.histogram.double().sum()
        first = int((kept <= share).sum())
        last = int((kept < 1.0 - share).sum())
        width = (self.max_val - self.min_val) / self.bins
        return self.min_val + width * first, self.min_val + width * (min(last, self.bins - 1) + 1)


class MseObserver(HistogramObserver):
    """The range with the least squared error of the rounded values of the running histogram.

    Both ends are moved in steps of 1 % of the whole range, together and then each by itself;
    clipping and rounding count alike, at the middle of each bin. torch's own search stops at the first
    step that does not help.
    """

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        low, high = float(self.min_val), float(self.max_val)
        width = (high - low) / self.bins
        middles = low + width * (torch.arange(self.bins, dtype=torch.float64) + 0.5)
        factors = torch.linspace(1.0, _SMALLEST, _STEPS + 1, dtype=torch.float64).tolist()

        def error(pair: tuple[float, float]) -> float:
            return self._squared_error(middles, pair[0] * low, pair[1] * high)

        one = (factors[0], factors[0])
        best = min(((f, f) for f in factors), key=error, default=one)
        if self.qscheme == torch.per_tensor_affine:
            best = min(((f, best[1]) for f in factors), key=error)
            best = min(((best[0], f) for f in factors), key=error)
        return torch.tensor(best[0] * low), torch.tensor(best[1] * high)

    def _squared_error(self, values: Tensor, low: float, high: float) -> float:
        scale, zero_point = self._calculate_qparams(torch.tensor(low), torch.tensor(high))
        step, zero = float(scale), int(zero_point)
        stored = (torch.round(values / step) + zero).clamp(self.quant_min, self.quant_max)
        return float((self.histogram.double() * (values - (stored - zero) * step).square()).sum())


class MseWeightObserver(UniformQuantizationObserverBase):
    """Symmetric scales of a weight with the least squared error of its rounded values.

    By the first axis for ``per_channel_symmetric``, else one; searched over ``_STEPS`` fractions of
    the largest magnitude.
    """

    min_val: Tensor
    max_val: Tensor

    def __init__(self, *, ch_axis: int = 0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ch_axis = ch_axis
        self.register_buffer("min_val", torch.tensor([]))
        self.register_buffer("max_val", torch.tensor([]))

    def forward(self, weight: Tensor) -> Tensor:
        """Search the scales of ``weight``, which is given back as it is."""
        rows = weight.detach().transpose(0, self.ch_axis).flatten(1)
        if self.qscheme == torch.per_tensor_symmetric:
            rows = rows.reshape(1, -1)
        largest = rows.abs().amax(dim=1, keepdim=True)
        half = (self.quant_max - self.quant_min) / 2
        best, least = largest, torch.full_like(largest, torch.inf)
        for factor in torch.linspace(1.0, _SMALLEST, _STEPS + 1).tolist():
            scale = (factor * largest / half).clamp_min(torch.finfo(torch.float32).eps)
            stored = torch.round(rows / scale).clamp(self.quant_min, self.quant_max)
            error = (rows - stored * scale).square().sum(dim=1, keepdim=True)
            better = error < least
            best, least = torch.where(better, factor * largest, best), torch.minimum(error, least)
        found = best.squeeze(1) if self.qscheme == torch.per_channel_symmetric else best.reshape(())
        self.min_val, self.max_val = -found, found.clone()
        return weight

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """Scales and zero points, which are 0."""
        found: tuple[Tensor, Tensor] = self._calculate_qparams(self.min_val, self.max_val)
        return found
