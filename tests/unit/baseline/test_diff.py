"""What of a baseline's change needs a word of its own before it is accepted."""

from __future__ import annotations

import pytest

from gate.baseline.diff import ValueChange
from gate.core.status import Tier
from gate.metrics.catalogue import BY_NAME, Direction


def change(tier: Tier, metric: str, old: float, new: float) -> ValueChange:
    info = BY_NAME[tier, metric]
    return ValueChange(
        tier=tier,
        metric=metric,
        subject="case",
        unit=info.unit,
        old=old,
        new=new,
        better=new < old if info.direction is Direction.LOWER else new > old,
    )


@pytest.mark.parametrize(
    ("tier", "metric", "old", "worse", "rounding"),
    [
        (Tier.NUMERICAL, "sqnr", 30.0, 29.94, 29.96),
        (Tier.NUMERICAL, "cosine", 0.9999, 0.9990, 0.9998999),
        (Tier.NUMERICAL, "cosine", 1.0, 0.999999, 1.0 - 6e-8),
        (Tier.NUMERICAL, "cosine", 0.5, 0.4994, 0.4996),
        (Tier.NUMERICAL, "top1_agreement", 99.95, 99.86, 99.91),
        (Tier.NUMERICAL, "relative_mse", 1.0, 1.002, 1.0005),
        (Tier.DEVICE, "top1", 76.00, 75.93, 75.96),
        (Tier.DEVICE, "top1", 20.00, 19.97, 19.99),
        (Tier.DEVICE, "top1_drop", 0.10, 0.16, 0.14),
        (Tier.DEVICE, "class_top1", 80.0, 75.0, 79.96),
        (Tier.DEVICE, "size", 10_000.0, 10_011.0, 10_009.0),
        (Tier.LAYERS, "int8_params", 100.0, 99.0, 99.96),
    ],
)
def test_what_is_worse_by_more_than_rounding_is_named(
    tier: Tier, metric: str, old: float, worse: float, rounding: float
) -> None:
    assert change(tier, metric, old, worse).loosens
    assert not change(tier, metric, old, rounding).loosens
    assert not change(tier, metric, worse, old).loosens  # it got better


def test_what_changes_by_itself_is_not() -> None:
    assert not change(Tier.DEVICE, "latency_p50", 1.0, 2.0).loosens
