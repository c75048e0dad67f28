"""Metrics of latency samples in nanoseconds, one a round.

Every function returns None over no samples. Percentiles interpolate linearly between the two
nearest samples (type 7 of Hyndman and Fan, Sample quantiles in statistical packages, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NS_PER_MS = 1e6
NS_PER_S = 1e9


def percentile_ms(samples_ns: Sequence[int], q: float) -> float | None:
    """The ``q``-th percentile, in milliseconds; ``q`` in [0, 100].

    Raises:
        ValueError: a sample is negative or ``q`` is out of range.

    >>> percentile_ms([1_000_000, 2_000_000, 3_000_000], 50)
    2.0
    """
    if not 0.0 <= q <= 100.0:
        raise ValueError(f"a percentile is from 0 to 100, got {q}")
    samples = np.sort(_samples(samples_ns))
    if not samples.size:
        return None
    # numpy.percentile does the same at twenty times the cost for so few samples.
    place = (samples.size - 1) * q / 100.0
    below = int(place)
    low, high = float(samples[below]), float(samples[min(below + 1, samples.size - 1)])
    part = place - below
    value = low + (high - low) * part if part < 0.5 else high - (high - low) * (1.0 - part)
    return value / NS_PER_MS


def speedup(reference_ns: Sequence[int], candidate_ns: Sequence[int]) -> float | None:
    """Median over rounds of reference time / candidate time, a pure factor (``x``).

    Paired: a disturbance that hits a whole round cancels. Not the ratio of the medians. None where
    the clock did not advance in a round.

    Args:
        reference_ns: one time a round.
        candidate_ns: of the same rounds, in the same order.

    Raises:
        ValueError: the numbers of rounds differ or a sample is negative.

    >>> speedup([40, 10, 30], [10, 10, 10])
    3.0
    """
    reference, candidate = _samples(reference_ns), _samples(candidate_ns)
    if reference.shape != candidate.shape:
        raise ValueError(
            f"{reference.size} reference rounds and {candidate.size} candidate rounds are no pairs"
        )
    if not reference.size or not (reference.all() and candidate.all()):
        return None
    return _median(reference / candidate)


def throughput_fps(samples_ns: Sequence[int], batch: int) -> float | None:
    """Samples a second at the median time of a run of ``batch`` samples.

    Raises:
        ValueError: ``batch`` is below 1 or a sample is negative.

    >>> throughput_fps([4_000_000, 4_000_000], batch=2)
    500.0
    """
    if batch < 1:
        raise ValueError(f"a batch has at least one sample, got {batch}")
    samples = _samples(samples_ns)
    median = _median(samples) if samples.size else 0.0
    return batch * NS_PER_S / median if median > 0.0 else None


def contention(wall_ns: Sequence[int], cpu_ns: Sequence[int]) -> float | None:
    """CPU time over wall time of all rounds: well below 1 (a thread) on a crowded machine.

    Raises:
        ValueError: the numbers of rounds differ or a sample is negative.

    >>> contention([100, 100], [90, 70])
    0.8
    """
    wall, cpu = _samples(wall_ns), _samples(cpu_ns)
    if wall.shape != cpu.shape:
        raise ValueError(f"{wall.size} wall times and {cpu.size} CPU times are no pairs")
    total = float(wall.sum())
    return float(cpu.sum()) / total if total > 0.0 else None


def _median(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """As ``numpy.median``, which takes ten times as long over so few values."""
    ordered = np.sort(values)
    middle = ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]
    return float(middle / 2.0)


def _samples(samples_ns: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    samples = np.asarray(samples_ns, dtype=np.float64).reshape(-1)
    if samples.size and samples.min() < 0.0:
        raise ValueError("a time is negative: the clock is not monotonic")
    return samples
