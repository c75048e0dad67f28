"""What holds for every value: worse is never better, NaN is never good, order does not matter."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.baseline import BaselineFound, BaselineMissing
from gate.core.canonical import canonical_json
from gate.core.convert import to_plain
from gate.core.layer import ErrorSums
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op
from gate.core.verdict import Measurement
from gate.judge.comparison import compare
from gate.judge.judge import judge
from gate.judge.measure import Groups, Measured, measure
from gate.judge.tolerances import judge_tolerance
from gate.metrics.catalogue import CATALOGUE, Direction
from tests.unit.judge import builders as build

STORED = build.baseline()
INFOS = st.sampled_from([info for info in CATALOGUE if info.unit != "bool"])
NUMBERS = st.floats(min_value=-1e9, max_value=1e9)
RANK = {Status.PASS: 0, Status.SKIPPED: 1, Status.INCONCLUSIVE: 1, Status.FAIL: 2}


def outcome(info, op: Op, anchor: Anchor, bound: float, value: float, **changes) -> Status:
    subject = {"output": "output", "layer": "conv1", "class": "3", "case": "case"}[info.subject]
    tolerance = build.tolerance(info.tier, info.name, op, bound, anchor=anchor, **changes)
    measurement = Measurement(
        tier=info.tier, metric=info.name, subject=subject, value=value, unit=info.unit
    )
    measured = Measured(
        values=Groups({(info.tier, info.name): (measurement,)}),
        reference={(info.tier, info.name): 2.0},
        layer_order=(),
    )
    case = build.case(tolerance, baseline_policy="require")
    comparison = compare(case, build.observation(), BaselineFound(baseline=STORED))
    (check,) = judge_tolerance(tolerance, measured, comparison, dedicated=False)
    return check.status


@given(
    info=INFOS, anchor=st.sampled_from(Anchor), strict=st.booleans(), relative=st.booleans(),
    bound=NUMBERS, first=NUMBERS, second=NUMBERS,
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_a_worse_value_never_gets_a_better_status(  # noqa: PLR0917 - hypothesis names them
    info, anchor, strict, relative, bound, first, second
) -> None:
    lower = info.direction is Direction.LOWER
    op = (Op.LT if strict else Op.LE) if lower else (Op.GT if strict else Op.GE)
    better, worse = sorted((first, second), reverse=not lower)
    statuses = [outcome(info, op, anchor, bound, v, relative=relative) for v in (better, worse)]
    assert RANK[statuses[0]] <= RANK[statuses[1]]


@given(info=INFOS, op=st.sampled_from(Op), anchor=st.sampled_from(Anchor), bound=NUMBERS)
@settings(max_examples=200, deadline=None)
def test_nan_never_passes(info, op, anchor, bound) -> None:
    assert outcome(info, op, anchor, bound, math.nan) is not Status.PASS
    assert outcome(info, op, anchor, math.nan, 1.0) is not Status.PASS


ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.builds(
        ErrorSums,
        elements=st.integers(0, 500), nonfinite_reference=st.integers(0, 3),
        nonfinite_candidate=st.integers(0, 3), sum_x=ANYTHING, sum_x2=st.floats(0, 1e300),
        sum_y=ANYTHING, sum_y2=st.floats(0, 1e300), sum_xy=ANYTHING,
        sum_err2=st.floats(0, 1e300), max_abs_error=ANYTHING,
    ),
    ANYTHING,
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_measurement_is_finite_or_has_a_reason(errors: ErrorSums, kl: float) -> None:
    observed = build.observation()
    output = replace(observed.outputs["output"], errors=errors, kl_sum_nats=kl)
    measured = measure(replace(observed, outputs={"output": output}))
    for measurement in measured:
        if measurement.value is None:
            assert measurement.why_none
        else:
            assert math.isfinite(measurement.value)
    canonical_json([to_plain(m) for m in measured])


@given(st.permutations(build.DEFAULT), st.floats(0.001, 1.0))
@settings(max_examples=40, deadline=None)
def test_the_order_of_tolerances_does_not_matter_and_judging_is_deterministic(
    tolerances, noise
) -> None:
    observed = build.observation(layers=build.layers(conv2=noise))
    missing = BaselineMissing(path="x")
    one = judge(build.case(), observed, missing)
    other = judge(build.case(*tolerances), observed, missing)
    again = judge(build.case(*tolerances), observed, missing)
    assert other == again
    assert one.status is other.status
    assert one.first_bad_layer == other.first_bad_layer
    assert sorted(map(repr, one.checks)) == sorted(map(repr, other.checks))


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_only_complete_observations_can_pass(planned: int, evaluated: int) -> None:
    observed = build.observation(samples_planned=planned, samples_evaluated=evaluated)
    verdict = judge(build.case(), observed, BaselineMissing(path="x"))
    assert (verdict.status is Status.PASS) == (planned == evaluated == build.N)
    assert Tier.NUMERICAL in build.case().tiers
