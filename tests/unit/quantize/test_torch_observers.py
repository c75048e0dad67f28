"""Observers beside torch's own, against NumPy and against the real rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.ao.quantization import HistogramObserver, MinMaxObserver  # noqa: E402

from gate.models.torch_runtime import quiet_torch_ao  # noqa: E402
from gate.quantize._torch_observers import (  # noqa: E402
    MseObserver,
    MseWeightObserver,
    PercentileObserver,
)

AFFINE: dict[str, Any] = {"dtype": torch.quint8, "qscheme": torch.per_tensor_affine}


def heavy_tailed(seed: int = 0, count: int = 20_000) -> Any:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.standard_t(3, size=count).astype(np.float32))


def qparams(observer: Any, *values: Any) -> tuple[float, int]:
    with quiet_torch_ao():
        for value in values:
            observer(value)
        scale, zero_point = observer.calculate_qparams()
    return float(scale), int(zero_point)


def rounding_error(
    values: Any, scale: float, zero_point: int, low: int = 0, high: int = 255
) -> float:
    made = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, low, high)
    return float((made - values).double().square().mean())


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_a_percentile_leaves_the_same_share_out_on_either_side(percentile: float) -> None:
    values = heavy_tailed()
    scale, zero_point = qparams(PercentileObserver(percentile=percentile, **AFFINE), values)
    outside = (100 - percentile) / 2
    below = 100 * float((values < -scale * zero_point).double().mean())
    above = 100 * float((values > scale * (255 - zero_point)).double().mean())
    assert below == pytest.approx(outside, rel=0.15, abs=0.02)
    assert above == pytest.approx(outside, rel=0.15, abs=0.02)


def test_all_of_the_values_is_the_whole_range() -> None:
    values = heavy_tailed()
    whole = qparams(MinMaxObserver(**AFFINE), values)
    assert qparams(PercentileObserver(percentile=100.0, **AFFINE), values)[0] == pytest.approx(
        whole[0], rel=1e-3
    )


def test_batches_count_together() -> None:
    """The second batch widens the histogram of the first."""
    parts = heavy_tailed(1), 3 * heavy_tailed(2)
    split = qparams(PercentileObserver(percentile=99.0, **AFFINE), *parts)
    joined = qparams(PercentileObserver(percentile=99.0, **AFFINE), torch.cat(parts))
    assert split[0] == pytest.approx(joined[0], rel=0.02)


@pytest.mark.parametrize("scheme", [torch.per_tensor_affine, torch.per_tensor_symmetric])
@pytest.mark.parametrize("positive", [True, False])
def test_no_range_on_a_grid_has_a_smaller_squared_error(scheme: Any, positive: bool) -> None:
    generator = np.random.default_rng(3)
    values = torch.from_numpy(generator.laplace(size=200_000).astype(np.float32))
    values = values.relu() if positive else values
    options = {"dtype": torch.quint8, "qscheme": scheme}
    found = rounding_error(values, *qparams(MseObserver(**options), values))
    limits = torch.linspace(0.02, 1.0, 50)
    others = []
    for factor in limits:
        clipped = values.clamp(float(factor * values.min()), float(factor * values.max()))
        others.append(rounding_error(values, *qparams(MinMaxObserver(**options), clipped)))
    assert found <= 1.02 * min(others[10:])  # from a fifth of the range on, as the observer looks
    assert found < rounding_error(values, *qparams(MinMaxObserver(**options), values))
    assert found <= 1.02 * rounding_error(values, *qparams(HistogramObserver(**options), values))


@pytest.mark.parametrize("by_channel", [True, False])
def test_scales_of_weights_have_the_least_squared_error(by_channel: bool) -> None:
    weight = heavy_tailed(4, 8 * 90).reshape(8, 10, 3, 3)
    scheme = torch.per_channel_symmetric if by_channel else torch.per_tensor_symmetric
    observer = MseWeightObserver(dtype=torch.qint8, qscheme=scheme)
    with quiet_torch_ao():
        assert observer(weight) is weight
        scales, zero_points = observer.calculate_qparams()
    assert len(scales) == (8 if by_channel else 1)
    assert not zero_points.any()
    rows = weight.flatten(1) if by_channel else weight.reshape(1, -1)
    for row, scale in zip(rows, scales, strict=True):
        found = rounding_error(row, float(scale), 0, -128, 127)
        largest = float(row.abs().max()) / 127.5
        others = [rounding_error(row, f * largest, 0, -128, 127) for f in np.linspace(0.2, 1, 200)]
        assert found <= 1.1 * min(others)
        assert found <= rounding_error(row, largest, 0, -128, 127)
