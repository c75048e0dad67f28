"""Timing metrics: units, pairing and clocks that misbehave."""

import statistics

import numpy as np
import pytest

from gate.metrics import timing


def test_percentiles_are_in_milliseconds_and_equal_the_standard_library():
    samples = [int(v) for v in np.random.default_rng(0).gamma(9, 1e5, 999)]
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    for q in (50, 90, 99):
        assert timing.percentile_ms(samples, q) == pytest.approx(cuts[q - 1] / 1e6, rel=1e-12)


def test_speedup_is_paired():
    disturbance = np.random.default_rng(1).gamma(0.5, 1e7, 41).astype(int)
    candidate = [1_000_000 + int(d) for d in disturbance]
    reference = [3 * c for c in candidate]
    assert timing.speedup(reference, candidate) == pytest.approx(3.0)
    assert timing.speedup(candidate, reference) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="3 reference rounds and 2 candidate rounds"):
        timing.speedup([1, 2, 3], [1, 2])


def test_throughput_counts_samples_not_runs():
    assert timing.throughput_fps([10_000_000] * 3, batch=8) == pytest.approx(800.0)
    with pytest.raises(ValueError, match="at least one sample"):
        timing.throughput_fps([1], batch=0)


def test_contention():
    assert timing.contention([100, 300], [100, 100]) == 0.5
    with pytest.raises(ValueError, match="no pairs"):
        timing.contention([1, 2], [1])


def test_nothing_measured_has_no_value():
    assert timing.percentile_ms([], 50) is None
    assert timing.speedup([], []) is None
    assert timing.throughput_fps([], 1) is None
    assert timing.contention([], []) is None


def test_a_clock_that_stands_still_has_no_ratio():
    assert timing.speedup([10, 10], [10, 0]) is None
    assert timing.speedup([0, 10], [10, 10]) is None
    assert timing.throughput_fps([0, 0], 1) is None


def test_a_clock_that_runs_backwards_is_refused():
    with pytest.raises(ValueError, match="negative"):
        timing.percentile_ms([5, -1], 50)
