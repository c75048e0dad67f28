"""How far a model moves when it is converted."""

from __future__ import annotations

from gate.core.tensors import TensorMap
from gate.metrics.accumulate import ErrorAccumulator
from gate.metrics.elementwise import relative_mse_percent


def worst_error(before: TensorMap, after: TensorMap) -> float | None:
    """Largest relative MSE in per cent over all outputs; None where they cannot be compared."""
    if len(before) == len(after) == 1:
        after = dict(zip(before, after.values(), strict=True))
    if set(before) != set(after):
        return None
    worst = 0.0
    for name, x in before.items():
        if x.shape != after[name].shape:
            return None
        errors = ErrorAccumulator(None)
        errors.update(x, after[name])
        percent = relative_mse_percent(errors.sums())
        if percent is None:
            return None
        worst = max(worst, percent)
    return worst
