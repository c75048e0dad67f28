from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gate.core.status import Status, Tier, worst
from gate.core.verdict import Verdict
from gate.report.tiers import shown_tiers, tier_outcomes
from tests.unit.report.records import (
    ALL,
    CRASHED,
    FAILED,
    SKIPPED,
    XFAILED,
    XPASSED,
    case,
    check,
    implicit,
)

STATUSES = [Status.PASS, Status.FAIL, Status.INCONCLUSIVE, Status.ERROR]


def statuses(verdict, tiers=tuple(Tier)):
    return [part.status for part in tier_outcomes(verdict, tiers)]


def test_a_failure_of_the_worker_is_every_tiers_error():
    assert statuses(CRASHED) == [Status.ERROR] * 3
    assert "SIGSEGV" in tier_outcomes(CRASHED, tuple(Tier))[0].note


def test_a_skipped_case_skips_every_tier_with_its_reason():
    assert statuses(SKIPPED) == [Status.SKIPPED] * 3
    assert tier_outcomes(SKIPPED, tuple(Tier))[2].note == "GATE_DATA is not set; see README"


def test_each_tier_has_its_own_worst_check():
    assert statuses(FAILED) == [Status.PASS, Status.FAIL, Status.FAIL]


def test_an_expected_failure_passes_in_the_tier_that_failed_and_says_so():
    parts = tier_outcomes(XFAILED, tuple(Tier))
    assert [part.status for part in parts] == [Status.PASS] * 3
    assert [part.expected for part in parts] == [False, False, True]
    assert "per-channel ranges differ 100x" in parts[2].note


def test_an_expected_failure_that_passes_fails_where_it_was_expected():
    assert statuses(XPASSED) == [Status.PASS, Status.PASS, Status.FAIL]
    assert statuses(replace(XPASSED, expected_metrics=())) == [Status.FAIL] * 3


def test_a_failure_in_another_metric_is_not_expected():
    other = check("sqnr", Status.FAIL, tier=Tier.NUMERICAL, subject="output")
    verdict = replace(XFAILED, checks=(other, *XFAILED.checks[1:]))
    assert statuses(verdict) == [Status.FAIL, Status.PASS, Status.PASS]


def test_a_check_of_a_tier_without_demands_is_not_lost():
    found = implicit("nothing_quantized", Status.FAIL, Tier.LAYERS, "no layer is in integers")
    passing = check("top1_drop")
    verdict = Verdict(case_id="a/b@c", checks=(found, passing))
    assert statuses(verdict, (Tier.NUMERICAL, Tier.DEVICE)) == [Status.FAIL, Status.PASS]


def test_a_demanded_tier_without_any_check_is_an_error():
    verdict = Verdict(case_id="a/b@c", checks=(check("top1_drop"),))
    assert statuses(verdict, (Tier.LAYERS, Tier.DEVICE)) == [Status.ERROR, Status.PASS]


def test_a_case_without_demands_still_has_an_item():
    assert shown_tiers(case("a/b@c", tiers=())) == (Tier.NUMERICAL,)


checks_of_any_tier = st.lists(
    st.builds(
        lambda rule, tier, status: check(rule, status, tier=tier),
        st.sampled_from(["sqnr", "top1_drop"]),
        st.sampled_from(list(Tier)),
        st.sampled_from([*STATUSES, Status.SKIPPED, Status.NOT_COMPARABLE]),
    ),
    max_size=5,
)


@given(
    checks_of_any_tier,
    st.sampled_from([None, "because"]),
    st.sampled_from([(), ("sqnr",), ("device.top1_drop",)]),
    st.lists(st.sampled_from(list(Tier)), min_size=1, unique=True),
)
def test_the_items_of_a_case_are_never_better_than_its_verdict(checks, because, metrics, tiers):
    verdict = Verdict(
        case_id="a/b@c", checks=tuple(checks), expected_failure=because, expected_metrics=metrics
    )
    order = [
        Status.SKIPPED,
        Status.PASS,
        Status.NOT_COMPARABLE,
        Status.INCONCLUSIVE,
        Status.FAIL,
        Status.ERROR,
    ]
    parts = worst(statuses(verdict, tuple(tiers)))
    assert order.index(parts) >= order.index(verdict.status)


def test_all_records_split_without_getting_better():
    for verdict in ALL:
        assert worst(statuses(verdict)) is verdict.status
