"""Noise bands and the tolerance that would have caught a fault."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gate.core.status import Tier
from gate.core.task import CustomMetric
from gate.core.verdict import Measurement
from gate.drill.advice import advise, rounded, shifts_of
from gate.drill.noise import Noise, has_scale, infos_of, least_band, noise_of, worse_by
from gate.metrics.catalogue import BY_NAME, CATALOGUE
from gate.spec.grammar import parse_bound
from tests.unit.judge import builders as b

SQNR = BY_NAME[Tier.LAYERS, "sqnr"]


def measurement(
    metric: str, value: float | None, subject: str = "conv", tier: Tier = Tier.LAYERS
) -> Measurement:
    return Measurement(
        tier=tier,
        metric=metric,
        subject=subject,
        value=value,
        unit=BY_NAME[tier, metric].unit,
        why_none="" if value is not None else "NaN",
    )


def test_noise_is_the_standard_deviation_over_repeats() -> None:
    values = [30.0, 30.5, 29.8, 31.0]
    found = noise_of([[measurement("sqnr", v)] for v in values])

    key = (Tier.LAYERS, "sqnr", "conv")
    assert found.repeats == 4
    assert found.sigma[key] == pytest.approx(np.std(values, ddof=1))
    assert found.band(SQNR, "conv", 30.0) == pytest.approx(max(1.0, 4 * np.std(values, ddof=1)))
    assert found.band(SQNR, "another", 30.0) == 1.0


def test_a_band_is_never_below_what_any_repeat_is_granted() -> None:
    found = noise_of([[measurement("sqnr", 30.0)]] * 3)

    assert found.band(SQNR, "conv", 30.0) == 1.0
    assert Noise().band(SQNR, "conv", 30.0) == 1.0


def test_a_measurement_that_is_missing_in_a_repeat_has_no_noise() -> None:
    found = noise_of([[measurement("sqnr", 30.0)], [measurement("sqnr", None)]])

    assert found.sigma == {}


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: f"{info.tier}.{info.name}")
def test_every_metric_has_a_band_above_zero(info) -> None:  # type: ignore[no-untyped-def]
    for healthy in (0.0, 1e-6, 1.0, 1e6):
        assert least_band(info, healthy) > 0.0


def test_worse_follows_the_direction_of_the_metric() -> None:
    bias = BY_NAME[Tier.LAYERS, "bias"]
    assert worse_by(SQNR, 30.0, 25.0) == 5.0
    assert worse_by(bias, 1.0, 4.0) == 3.0
    assert worse_by(bias, 4.0, 1.0) == -3.0


def test_shifts_keep_the_worst_subject_and_put_the_clearest_metric_first() -> None:
    healthy = [
        measurement("sqnr", 30.0, "a"),
        measurement("sqnr", 30.0, "b"),
        measurement("bias", 1.0, "a"),
    ]
    faulty = [
        measurement("sqnr", 28.0, "a"),
        measurement("sqnr", 26.0, "b"),
        measurement("bias", 4.0, "a"),
    ]
    found = shifts_of(healthy, faulty, Noise())

    assert [(s.metric, s.subject) for s in found] == [("bias", "a"), ("sqnr", "b")]
    assert found[1].separation == 4.0


def test_a_value_that_is_gone_is_infinitely_worse() -> None:
    (found,) = shifts_of([measurement("sqnr", 30.0)], [measurement("sqnr", None)], Noise())

    assert math.isinf(found.worse_by)


def test_the_advised_bound_passes_healthy_runs_and_fails_the_fault() -> None:
    found = advise(shifts_of([measurement("sqnr", 30.0)], [measurement("sqnr", 27.9)], Noise()))

    assert found is not None
    assert found.key == "layers.sqnr"
    assert found.text == ">= baseline - 1.6 dB"
    bound = parse_bound(found.text, BY_NAME[Tier.LAYERS, "sqnr"])
    assert 27.9 < 30.0 + bound.value < 29.0


def test_powers_are_bounded_in_per_cent_of_the_baseline() -> None:
    found = advise(
        shifts_of(
            [measurement("worst_channel_nmse", 0.02)],
            [measurement("worst_channel_nmse", 0.06)],
            Noise(),
        )
    )

    assert found is not None
    assert found.text == "<= baseline + 160 %"
    bound = parse_bound(found.text, BY_NAME[Tier.LAYERS, "worst_channel_nmse"])
    assert bound.relative


def test_there_is_no_advice_inside_the_noise() -> None:
    shifts = shifts_of([measurement("sqnr", 30.0)], [measurement("sqnr", 28.9)], Noise())

    assert advise(shifts) is None
    assert advise(()) is None


def test_noise_of_repeats_keeps_the_advice_away() -> None:
    noisy = Noise(repeats=5, sigma={(Tier.LAYERS, "sqnr", "conv"): 1.0})
    shifts = shifts_of([measurement("sqnr", 30.0)], [measurement("sqnr", 26.0)], noisy)

    assert advise(shifts) is None


@pytest.mark.parametrize("value", [0.00123, 0.5, 1.678, 12.9, 99.999, 1234.0])
def test_rounding_never_loosens_and_keeps_two_digits(value: float) -> None:
    found = rounded(value, least=0.0)

    assert value * 0.9 <= found <= value
    assert len(f"{found:.2e}".rstrip("0").partition("e")[0].replace(".", "").rstrip("0")) <= 2


@pytest.mark.parametrize(
    "metric", ["latency_p50", "latency_p99", "throughput", "speedup", "latency_ratio", "load_time"]
)
def test_times_of_another_run_are_never_advised(metric: str) -> None:
    healthy = [measurement(metric, 5.0, "case", Tier.DEVICE)]
    for other in (50.0, 0.5):
        faulty = [measurement(metric, other, "case", Tier.DEVICE)]
        assert shifts_of(healthy, faulty, Noise()) == ()


def test_the_cpu_time_of_a_load_is_advised_from_the_baseline() -> None:
    healthy = [measurement("load_cpu", 5.0, "case", Tier.DEVICE)]

    def advised(loads: float) -> str | None:
        found = advise(
            shifts_of(healthy, [measurement("load_cpu", loads, "case", Tier.DEVICE)], Noise())
        )
        return found and found.text

    assert advised(15.0) == "<= baseline + 160 %"
    assert advised(7.0) is None


def test_what_was_not_timed_has_not_become_worse() -> None:
    healthy = [measurement("peak_memory", 1e8, "case", Tier.DEVICE)]
    untimed = [measurement("peak_memory", None, "case", Tier.DEVICE)]

    assert shifts_of(healthy, untimed, Noise()) == ()


SHARPNESS = CustomMetric(name="sharpness", entry="m:f", unit="", direction="higher")


def sharpness(value: float, drop: float) -> list[Measurement]:
    return [
        Measurement(tier=Tier.DEVICE, metric=name, subject="case", value=number, unit="")
        for name, number in (("custom.sharpness", value), ("custom.sharpness_drop", drop))
    ]


def test_a_metric_of_the_specs_own_is_bounded_in_its_own_direction() -> None:
    infos = infos_of(b.case(metrics=(SHARPNESS,)))
    shifts = shifts_of(sharpness(0.9, 0.0), sharpness(0.6, 0.3), Noise(), infos)

    # Not the difference: zero while healthy, it has no scale that noise could be granted on.
    assert [shift.metric for shift in shifts] == ["custom.sharpness"]
    found = advise(shifts)
    assert found is not None
    assert (found.key, found.text) == ("device.custom.sharpness", ">= baseline - 26 %")
    assert not shifts_of(sharpness(0.9, 0.0), sharpness(1.2, -0.3), Noise(), infos)[0].worse_by > 0


def test_a_difference_in_points_has_a_scale() -> None:
    share = replace(SHARPNESS, unit="%", direction="lower")
    infos = infos_of(b.case(metrics=(share,)))

    assert has_scale(infos[Tier.DEVICE, "custom.sharpness_drop"])
    assert least_band(infos[Tier.DEVICE, "custom.sharpness_drop"], 0.0) == 0.25


@pytest.mark.parametrize(
    ("samples", "advised"), [(48, None), (797, ">= baseline - 1.6 pp"), (0, ">= baseline - 1.6 pp")]
)
def test_one_flip_among_few_samples_is_chance(samples: int, advised: str | None) -> None:
    """Two points are a single sample of 48, and sixteen of 797."""
    healthy = [measurement("top1", 85.4, "case", Tier.DEVICE)]
    faulty = [measurement("top1", 83.3, "case", Tier.DEVICE)]
    found = advise(shifts_of(healthy, faulty, Noise(samples=samples)))

    assert (found and found.text) == advised
    noise = noise_of([healthy, healthy], samples=samples)
    band = noise.band(BY_NAME[Tier.DEVICE, "top1"], "case", 85.4)
    assert band == (0.25 if not samples else pytest.approx(max(0.25, 200.0 / samples)))
    assert noise.band(SQNR, "conv", 30.0) == 1.0
