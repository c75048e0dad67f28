"""How many samples a certificate needs, against exact power and known figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gate.core.status import Status
from gate.metrics.paired import PairedCounts, verdict
from gate.metrics.sample_size import (
    quantile,
    samples_needed,
    samples_without_flips,
)
from tests.bench.accuracy_enumeration import enumerate_errors


@pytest.mark.parametrize("p", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_normal_quantile_is_scipys(p: float) -> None:
    assert quantile(p) == pytest.approx(norm.ppf(p), abs=1e-12)


def test_known_numbers() -> None:
    assert samples_needed(0.01, 0.04) == 3530
    assert samples_needed(0.01, 0.04, power=0.99) == 6449
    assert samples_needed(0.01, 0.04, drop=0.01) is None
    assert samples_needed(0.01, 0.04, drop=0.01 - 1e-9) is None


@pytest.mark.parametrize("margin", [0.002, 0.005, 0.01, 0.02, 0.05])
def test_without_flips_one_sample_less_is_not_enough(margin: float) -> None:
    least = samples_without_flips(margin)
    assert (1.0 - margin) ** least <= 0.05
    for right in (0.5, 0.75, 1.0):
        assert verdict(no_flips(least, right), margin).status is Status.PASS
        assert verdict(no_flips(least - 1, right), margin).status is Status.INCONCLUSIVE


def no_flips(n: int, share: float) -> PairedCounts:
    right = round(share * n)
    return PairedCounts(both_right=right, lost=0, gained=0, both_wrong=n - right)


@given(
    st.floats(0.001, 0.2), st.floats(0.0, 0.5), st.floats(-0.1, 0.2), st.sampled_from([0.8, 0.9, 0.99])
)  # fmt: skip
def test_more_flips_and_a_closer_drop_never_need_fewer(
    margin: float, psi: float, drop: float, power: float
) -> None:
    def number(**changes: float) -> float:
        value = samples_needed(
            **{"margin": margin, "psi": psi, "drop": drop, "power": power, **changes}
        )
        return math.inf if value is None else value

    assert number(psi=psi + 0.1) >= number()
    assert number(power=0.995) >= number()
    if drop < margin:
        assert number(drop=(drop + margin) / 2.0) >= number()
        assert number() >= samples_without_flips(margin)


@pytest.mark.parametrize(("margin", "psi"), [(0.01, 0.02), (0.005, 0.03)])
def test_the_number_has_the_power_it_promises(margin: float, psi: float) -> None:
    drop = margin / 5.0
    n = samples_needed(margin, psi, drop)
    assert n is not None
    power = enumerate_errors(n, psi, margin, 0.75, drop=drop)["gate"].false_pass
    assert 0.90 <= power <= 0.93
