"""Bounds from noise and faults: out of the noise, catching the most, and no tighter than that takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.status import Tier
from gate.core.task import CustomMetric
from gate.core.tolerance import Anchor, Op, SourcePosition, Tolerance
from gate.core.verdict import Measurement
from gate.drill.noise import Noise, infos_of
from gate.drill.tune import Evidence, additions, proposals
from gate.metrics.catalogue import BY_NAME
from gate.spec.grammar import parse_bound
from tests.unit.judge import builders as b

L, N, D = Tier.LAYERS, Tier.NUMERICAL, Tier.DEVICE


def values(tier: Tier, metric: str, **by_subject: float) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(
            tier=tier, metric=metric, subject=name, value=value, unit=BY_NAME[tier, metric].unit
        )
        for name, value in by_subject.items()
    )


def demand(tier: Tier, metric: str, text: str, line: int = 3, **changes: Any) -> Tolerance:
    bound = parse_bound(text, BY_NAME[tier, metric])
    return Tolerance(
        tier=tier,
        metric=metric,
        op=bound.op,
        anchor=bound.anchor,
        value=bound.value,
        relative=bound.relative,
        text=text,
        where=SourcePosition(file="s.yaml", line=line, column=5),
        **changes,
    )


def evidence(
    tolerance: Tolerance,
    healthy: tuple[Measurement, ...],
    faults: Mapping[str, tuple[Measurement, ...]],
    **changes: Any,
) -> Evidence:
    return Evidence(
        **{
            "case": b.case(tolerance),
            "healthy": healthy,
            "noise": Noise(),
            "faults": faults,
            **changes,
        }
    )


def sqnr(value: float) -> tuple[Measurement, ...]:
    return values(L, "sqnr", conv=value)


def test_a_loose_bound_is_tightened_to_just_before_the_nearest_fault() -> None:
    found = proposals(
        [
            evidence(
                demand(L, "sqnr", ">= baseline - 6 dB"),
                sqnr(30.0),
                {"far": sqnr(10.0), "near": sqnr(26.0), "in the noise": sqnr(29.5)},
            )
        ]
    )

    (one,) = found
    # Tightest 1 dB, nearest fault at 4 dB: 1 + 0.8 x 3 = 3.4, in fewest digits 3.
    assert one.new == ">= baseline - 3 dB"
    assert (one.caught_before, one.caught_after, one.faults) == (1, 2, 3)
    assert not one.looser


def test_a_bound_that_catches_all_it_can_stays() -> None:
    tolerance = demand(L, "sqnr", ">= baseline - 1 dB")

    assert not proposals([evidence(tolerance, sqnr(30.0), {"near": sqnr(26.0)})])


def test_a_bound_inside_the_noise_is_to_be_loosened_and_marked() -> None:
    noise = Noise(repeats=9, sigma={(L, "sqnr", "conv"): 0.5})
    tolerance = demand(L, "sqnr", ">= baseline - 1 dB")
    (one,) = proposals([evidence(tolerance, sqnr(30.0), {"near": sqnr(24.0)}, noise=noise)])

    assert one.looser
    bound = parse_bound(one.new, BY_NAME[L, "sqnr"])
    assert 2.0 <= -bound.value < 6.0
    assert "inside the noise" in one.why


def test_an_absolute_bound_is_put_below_the_worst_healthy_value() -> None:
    found = proposals(
        [
            evidence(
                demand(L, "sqnr", ">= 20 dB"),
                values(L, "sqnr", a=40.0, b=30.0),
                {
                    "one": values(L, "sqnr", a=26.0, b=30.0),
                    "two": values(L, "sqnr", a=35.0, b=30.0),
                },
            )
        ]
    )

    (one,) = found
    assert (one.caught_before, one.caught_after) == (0, 1)
    bound = parse_bound(one.new, BY_NAME[L, "sqnr"])
    assert bound.anchor is Anchor.ABSOLUTE
    assert 26.0 < bound.value <= 29.0


def test_one_tolerance_serves_all_cases_that_demand_it() -> None:
    tolerance = demand(L, "sqnr", ">= baseline - 12 dB")
    calm = evidence(tolerance, sqnr(30.0), {"x": sqnr(28.0)})
    wild = evidence(
        tolerance,
        sqnr(30.0),
        {"x": sqnr(20.0)},
        noise=Noise(repeats=9, sigma={(L, "sqnr", "conv"): 0.9}),
    )
    (one,) = proposals([calm, wild])

    bound = parse_bound(one.new, BY_NAME[L, "sqnr"])
    assert -bound.value >= 3.6  # the noise of the other case
    assert (one.caught_before, one.caught_after, one.faults) == (0, 1, 2)


@pytest.mark.parametrize(
    "tolerance",
    [
        demand(L, "shapes", "true"),
        demand(L, "quantized_ops", "== 100 %"),
        demand(Tier.DEVICE, "size", "<= 0.5 x reference"),
    ],
    ids=lambda t: t.metric,
)
def test_exact_and_reference_bounds_are_left_alone(tolerance: Tolerance) -> None:
    healthy = values(tolerance.tier, tolerance.metric, case=1.0)
    faulty = values(tolerance.tier, tolerance.metric, case=100.0)

    assert not proposals([evidence(tolerance, healthy, {"x": faulty})])


def test_subjects_are_respected() -> None:
    tolerance = demand(L, "sqnr", ">= baseline - 6 dB", subjects="head.*")
    healthy = (*sqnr(30.0), *values(L, "sqnr", **{"head.fc": 30.0}))
    faulty = (*sqnr(10.0), *values(L, "sqnr", **{"head.fc": 30.0}))

    assert not proposals([evidence(tolerance, healthy, {"elsewhere": faulty})])


def test_what_slips_through_everything_gets_a_new_tolerance() -> None:
    tolerance = demand(N, "sqnr", ">= baseline - 1 dB")
    healthy = (*values(N, "sqnr", output=30.0), *values(L, "bias", a=0.5))
    slipping = (*values(N, "sqnr", output=29.8), *values(L, "bias", a=6.0))
    found = additions(
        [evidence(tolerance, healthy, {"offset": slipping}, uncaught=frozenset({"offset"}))]
    )

    (one,) = found
    assert (one.tier, one.metric, one.where) == (L, "bias", None)
    bound = parse_bound(one.new, BY_NAME[L, "bias"])
    assert bound.anchor is Anchor.BASELINE
    assert bound.op is Op.LE
    assert 0.5 < bound.value < 5.5


def test_a_changed_bound_makes_an_addition_needless() -> None:
    tolerance = demand(L, "sqnr", ">= baseline - 6 dB")
    given = [evidence(tolerance, sqnr(30.0), {"x": sqnr(26.0)}, uncaught=frozenset({"x"}))]
    changed = proposals(given)

    assert changed
    assert not additions(given, changed)
    assert additions(given)


@given(
    healthy=st.floats(10.0, 60.0),
    sigma=st.floats(0.0, 2.0),
    shifts=st.lists(st.floats(-5.0, 40.0), max_size=8),
    present=st.floats(0.1, 20.0),
)
def test_no_proposal_fails_a_healthy_repeat_within_its_band(
    healthy: float, sigma: float, shifts: list[float], present: float
) -> None:
    noise = Noise(repeats=9, sigma={(L, "sqnr", "conv"): sigma})
    tolerance = demand(L, "sqnr", f">= baseline - {present:.3f} dB")
    faults = {str(i): sqnr(healthy - shift) for i, shift in enumerate(shifts)}
    for one in proposals([evidence(tolerance, sqnr(healthy), faults, noise=noise)]):
        allowed = -parse_bound(one.new, BY_NAME[L, "sqnr"]).value
        assert allowed >= max(1.0, 4.0 * sigma) - 1e-9
        caught = sum(shift > allowed for shift in shifts)
        assert caught == one.caught_after
        if not one.looser:
            assert one.caught_after >= one.caught_before


F1 = CustomMetric(name="f1", entry="m:f", unit="%", direction="higher", aggregate="ratio")


def own(name: str, value: float) -> tuple[Measurement, ...]:
    return (Measurement(tier=D, metric=name, subject="case", value=value, unit="%"),)


def test_metrics_of_the_specs_own_are_tuned_and_added_like_all_others() -> None:
    infos = infos_of(b.case(metrics=(F1,)))
    bound = parse_bound(">= 50 %", infos[D, "custom.f1"])
    loose = Tolerance(
        tier=D, metric="custom.f1", op=bound.op, anchor=bound.anchor, value=bound.value,
        text=">= 50 %", where=SourcePosition(file="s.yaml", line=3, column=5),
    )  # fmt: skip
    healthy, faults = own("custom.f1", 90.0), {"broken": own("custom.f1", 60.0)}
    slips = frozenset({"broken"})
    demanding = b.case(loose, metrics=(F1,))
    given = [evidence(loose, healthy, faults, case=demanding, uncaught=slips)]

    (one,) = proposals(given)
    assert (one.metric, one.caught_before, one.caught_after) == ("custom.f1", 0, 1)
    assert 60.0 < parse_bound(one.new, infos[D, "custom.f1"]).value <= 85.5
    assert not additions(given, [one])

    silent = b.case(demand(L, "sqnr", ">= 10 dB"), metrics=(F1,))
    (added,) = additions([evidence(loose, healthy, faults, case=silent, uncaught=slips)])
    assert (added.metric, added.where, added.new) == ("custom.f1", None, ">= baseline - 27 %")


def test_a_difference_in_a_unit_of_its_own_is_left_alone() -> None:
    metric = CustomMetric(name="loss", entry="m:f", unit="", direction="lower")
    tolerance = Tolerance(
        tier=D, metric="custom.loss_drop", op=Op.LE, anchor=Anchor.ABSOLUTE, value=9.0, text="<= 9",
        where=SourcePosition(file="s.yaml", line=3, column=5),
    )  # fmt: skip
    case = b.case(tolerance, metrics=(metric,))
    healthy, faults = own("custom.loss_drop", 0.0), {"broken": own("custom.loss_drop", 5.0)}

    assert not proposals([evidence(tolerance, healthy, faults, case=case)])


def test_of_costs_only_what_is_steady_is_bounded_and_only_from_the_baseline() -> None:
    def cost(**by_metric: float) -> tuple[Measurement, ...]:
        return tuple(m for name, v in by_metric.items() for m in values(D, name, case=v))

    healthy = cost(load_cpu=5.0, latency_p50=1.0, speedup=2.0, peak_memory=1e8)
    slow = cost(load_cpu=15.0, latency_p50=3.0, speedup=0.7, peak_memory=1e8)
    demands = (
        demand(D, "load_cpu", "< 10000 ms", 3),
        demand(D, "speedup", ">= 0.3 x", 4),
        demand(D, "latency_p50", "<= baseline + 500 %", 5),
        demand(D, "peak_memory", "<= 2000000000 B", 6),
    )
    large = cost(load_cpu=5.0, latency_p50=1.0, speedup=2.0, peak_memory=2e8)
    given = [
        evidence(
            demands[0], healthy, {"slow_load": slow, "memory_held": large}, case=b.case(*demands),
            uncaught=frozenset({"slow_load", "memory_held"}),
        )
    ]  # fmt: skip

    assert not proposals(given)
    added = additions(given)
    assert {one.metric for one in added} == {"load_cpu", "peak_memory"}
    for one in added:
        bound = parse_bound(one.new, BY_NAME[D, one.metric])
        assert bound.anchor is Anchor.BASELINE
        assert bound.relative
