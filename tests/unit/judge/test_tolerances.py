from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gate.core.baseline import BaselineFound, BaselineMissing
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op, Tolerance
from gate.core.verdict import Check
from gate.judge.judge import judge
from gate.judge.tolerances import holds, selects
from tests.unit.judge import builders as build

D, L, N = Tier.DEVICE, Tier.LAYERS, Tier.NUMERICAL
MISSING = BaselineMissing(path="nowhere.json")


def checks(tolerance: Tolerance, observed=None, stored=None, **changes) -> list[Check]:
    lookup = MISSING if stored is None else BaselineFound(baseline=stored)
    policy = "ignore" if stored is None else "require"
    case = build.case(tolerance, baseline_policy=policy, **changes)
    verdict = judge(case, observed or build.observation(), lookup)
    return [c for c in verdict.checks if c.tolerance is tolerance]


def check(tolerance: Tolerance, observed=None, stored=None, **changes) -> Check:
    (found,) = checks(tolerance, observed, stored, **changes)
    return found


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        (Op.LT, True, False, False),
        (Op.LE, True, True, False),
        (Op.GT, False, False, True),
        (Op.GE, False, True, True),
        (Op.EQ, False, True, False),
    ],
)
def test_operators_and_ties_within_rounding(op: Op, below, equal, above) -> None:
    assert holds(1.0, op, 2.0) is below
    assert holds(0.1 + 0.2, op, 0.3) is equal
    assert holds(3.0, op, 2.0) is above
    assert not holds(math.nan, op, 2.0)
    assert not holds(2.0, op, math.nan)


def test_absolute_bound_with_value_bound_and_message() -> None:
    found = check(build.tolerance(D, "top1_drop", Op.LE, 2.0))
    assert (found.status, found.bound) == (Status.FAIL, 2.0)
    assert found.message == (
        "2.5 pp, demanded <= 2 pp (exact, on these 40 samples): "
        "1 right to wrong (38); 0 wrong to right"
    )
    assert check(build.tolerance(D, "top1_drop", Op.LE, 2.5)).status is Status.PASS


def test_reference_anchor_multiplies_the_references_own_value() -> None:
    bound = build.tolerance(D, "size", Op.LE, 0.3, anchor=Anchor.REFERENCE)
    found = check(bound)
    assert (found.status, found.bound) == (Status.PASS, 1200.0)
    assert "reference 4000 B" in found.message
    assert check(replace(bound, value=0.29)).status is Status.FAIL
    packed = replace(bound, metric="packed_size")
    found = check(packed)
    assert found.status is Status.FAIL
    assert "reference has no value" in found.message


def test_baseline_anchor_takes_an_absolute_or_a_relative_offset() -> None:
    stored = build.baseline()
    drop = build.baseline_tolerance(D, "top1_drop", Op.LE, 0.5)
    found = check(drop, stored=stored)
    assert (found.status, found.bound, found.baseline) == (Status.PASS, 3.0, 2.5)
    size = build.baseline_tolerance(D, "size", Op.LE, 10.0, relative=True)
    assert check(size, stored=stored).bound == pytest.approx(1320.0)
    sqnr = build.baseline_tolerance(L, "sqnr", Op.GE, -1.0)
    worse = build.observation(layers=build.layers(conv2=0.1))
    statuses = {c.subject: c.status for c in checks(sqnr, worse, stored)}
    assert statuses == {"conv1": Status.PASS, "conv2": Status.FAIL, "fc": Status.PASS}


def test_a_relative_offset_on_a_negative_baseline_still_points_the_same_way() -> None:
    stored = build.baseline()
    values = [replace(v, value=-10.0) if v.metric == "top1_drop" else v for v in stored.values]
    stored = replace(stored, values=tuple(values))
    found = check(
        build.baseline_tolerance(D, "top1_drop", Op.LE, 10.0, relative=True), None, stored
    )
    assert found.bound == -9.0


def test_a_value_that_the_baseline_lacks_fails() -> None:
    stored = build.baseline()
    stored = replace(stored, values=tuple(v for v in stored.values if v.subject != "conv2"))
    found = checks(build.baseline_tolerance(L, "sqnr", Op.GE, -1.0), stored=stored)
    assert [c.status for c in found] == [Status.PASS, Status.FAIL, Status.PASS]
    assert "holds no value" in found[1].message


def test_without_a_usable_baseline_the_check_is_skipped_with_the_reason() -> None:
    found = check(build.baseline_tolerance(D, "top1_drop", Op.LE, 0.5))
    assert found.status is Status.SKIPPED
    assert found.message == "the spec says baseline: ignore"


def test_equality_on_truth_values() -> None:
    assert check(build.FINITE).status is Status.PASS
    x, y = build.logits()
    y[0, 0] = math.nan
    found = check(build.FINITE, build.observation(outputs={"output": build.output(x, y)}))
    assert found.status is Status.FAIL
    assert found.message == "false, demanded == true"


def test_shape_failures_say_how_the_shape_differs() -> None:
    observed = build.layers()
    rows = (observed.candidate[0], build.row("conv2", shape=(4, 7)), observed.candidate[2])
    found = checks(build.SHAPES, build.observation(layers=replace(observed, candidate=rows)))
    assert [c.status for c in found] == [Status.PASS, Status.FAIL, Status.PASS]
    assert "[4, 7]" in found[1].message


def test_subjects_choose_by_glob_or_exact_name() -> None:
    chosen = [(None, "a"), ("a*", "ab"), ("layers[0]", "layers[0]")]
    assert all(selects(glob, name) for glob, name in chosen)
    assert not selects("a", "ab")
    found = checks(replace(build.LAYER_SQNR, subjects="conv*"))
    assert [c.subject for c in found] == ["conv1", "conv2"]


def test_a_glob_that_matches_nothing_fails_and_names_the_nearest() -> None:
    found = check(replace(build.LAYER_SQNR, subjects="conv3"))
    assert found.status is Status.FAIL
    assert "did you mean 'conv" in found.message
    assert "there are conv1, conv2, fc" in check(replace(build.LAYER_SQNR, subjects="zz*")).message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": None}, "the layers tier was not observed"),
        ({"layers": replace(build.layers(), candidate=(), matches=())}, "nothing in this model"),
    ],
)
def test_a_metric_that_was_not_measured_fails(change, reason) -> None:
    found = check(build.LAYER_SQNR, build.observation(**change))
    assert found.status is Status.FAIL
    assert found.message.startswith("not measured: ")
    assert reason in found.message


LATENCY = build.tolerance(D, "latency_p50", Op.LT, 1.0)


def test_an_absolute_ceiling_binds_on_a_dedicated_target_only() -> None:
    found = check(LATENCY)
    assert found.status is Status.SKIPPED
    assert found.message.startswith("indicative: 2 ms, demanded < 1 ms")
    assert check(replace(LATENCY, value=3.0)).status is Status.PASS
    assert check(replace(LATENCY, value=3.0)).message.startswith("indicative: ")
    target = replace(build.case().target, dedicated=True)
    assert check(LATENCY, target=target).status is Status.FAIL
    assert "indicative" not in check(LATENCY, target=target).message


def test_a_size_ceiling_binds_everywhere() -> None:
    assert check(build.tolerance(D, "size", Op.LE, 1000.0)).status is Status.FAIL


def test_a_latency_band_follows_the_references_pace_upwards_only() -> None:
    stored = build.baseline()  # reference 4 ms, candidate 2 ms
    band = build.baseline_tolerance(D, "latency_p50", Op.LE, 10.0, relative=True)
    loaded = build.observation(timing=build.timing(8.0, 4.0))
    found = check(band, loaded, stored)
    assert (found.status, found.bound) == (Status.PASS, pytest.approx(4.4))
    assert "reference now takes 2 times as long" in found.message
    slower = build.observation(timing=build.timing(4.0, 3.0))
    assert check(band, slower, stored).status is Status.FAIL
    idle = build.observation(timing=build.timing(2.0, 2.1))
    assert check(band, idle, stored).bound == pytest.approx(2.2)
    target = replace(build.case().target, dedicated=True)
    assert check(band, loaded, stored, target=target).status is Status.FAIL


def test_a_throughput_floor_follows_the_pace_as_well() -> None:
    floor = build.baseline_tolerance(D, "throughput", Op.GE, -10.0, relative=True)
    loaded = build.observation(timing=build.timing(8.0, 4.0))
    found = check(floor, loaded, build.baseline())
    assert (found.status, found.bound) == (Status.PASS, pytest.approx(225.0))


@pytest.mark.parametrize("change", [{"cpu_model": "Other CPU"}, {"threads": 2}])
def test_times_of_another_processor_or_thread_count_are_not_compared(change) -> None:
    stored = build.baseline()
    there = replace(stored, environment=replace(stored.environment, **change))
    for metric in ("latency_p50", "speedup"):
        found = check(build.baseline_tolerance(D, metric, Op.GE, -100.0), None, there)
        assert found.status is Status.NOT_COMPARABLE
        assert "times are not comparable" in found.message
    size = check(build.baseline_tolerance(D, "size", Op.LE, 0.0), None, there)
    assert size.status is Status.PASS
