"""From values to pixels: linear or logarithmic axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LOG_SPREAD = 30.0
"""Positive values whose largest is so many times the smallest are drawn on a logarithmic axis."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis: values ``low`` to ``high`` on pixels ``start`` to ``end`` (which may run backwards)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value; what is beyond the axis is drawn at its end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values on the axis, about ``wanted`` of them."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high, wanted)


def fitted(
    values: Iterable[float], start: float, end: float, *, margin: float = 0.08, log: bool = True
) -> Scale:
    """An axis that shows all values with room at both ends; logarithmic, where allowed, if they are
    positive and far apart. Values that are not finite are left out."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if log and low > 0.0 and high / low >= _LOG_SPREAD:
        room = (high / low) ** margin
        return Scale(low=low / room, high=high * room, start=start, end=end, log=True)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low=low - room, high=high + room, start=start, end=end)


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    rough = (high - low) / max(wanted, 1)
    if not (math.isfinite(rough) and rough > 0.0):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(tens) >= 3:
        every = math.ceil(len(tens) / 6)
        return tens[::every]
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
