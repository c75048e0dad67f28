from dataclasses import replace

from gate.core.status import Status, Tier
from gate.core.verdict import Verdict
from gate.report.explain import Topic, check_line, explain, first_check, remark
from gate.report.text import clean, tail
from tests.unit.report.records import (
    CRASHED,
    FAILED,
    INCONCLUSIVE,
    PASSED,
    SKIPPED,
    XFAILED,
    XPASSED,
    check,
    implicit,
)


def texts(verdict, topic):
    return [line.text for line in explain(verdict) if line.topic is topic]


def test_a_plain_pass_needs_no_words():
    assert explain(PASSED) == ()


def test_the_first_failure_is_in_order_of_tiers_not_of_checks():
    shuffled = replace(FAILED, checks=FAILED.checks[::-1])
    first = first_check(shuffled)
    assert first is not None
    assert (first.tier, first.subject) == (Tier.LAYERS, "features.3.conv")


def test_a_failure_says_tier_rule_subject_figure_demand_and_place():
    (first,) = texts(FAILED, Topic.FIRST)
    assert first == (
        "layers: sqnr of features.3.conv = 9.87 dB, demanded >= 15 dB (specs/digits.yaml:14:9)"
    )
    (also,) = texts(FAILED, Topic.ALSO)
    assert (
        "top1_drop = 1.0004 pp, demanded < 1 pp: baseline 0.25 pp: in float: conv1 (specs" in also
    )
    assert texts(FAILED, Topic.LAYER) == ["features.3.conv"]
    assert texts(FAILED, Topic.BASELINE) == ["not comparable: recorded on linux-aarch64"]


def test_a_missing_value_says_why():
    line = check_line(check("top1_drop", Status.FAIL, value=None))
    assert "top1_drop not measured, demanded < 1 pp: the labels are missing (specs" in line


def test_the_judges_words_are_kept_and_its_figures_are_not_repeated():
    indicative = check(
        "latency_p50",
        Status.SKIPPED,
        value=3.0,
        unit="ms",
        bound=2.0,
        text="< 2 ms",
        message="indicative: 3 ms, demanded < 2 ms; an absolute time binds on a dedicated target",
    )
    assert remark(indicative) == "indicative: an absolute time binds on a dedicated target"
    waiting = check("sqnr", Status.SKIPPED, bound=None, message="there is no baseline yet")
    assert remark(waiting) == "there is no baseline yet"
    assert remark(check("sqnr", message="0.25 pp, demanded < 1 pp")) == ""


def test_an_implicit_rule_speaks_by_its_message():
    line = check_line(implicit("nothing_quantized", Status.FAIL, Tier.LAYERS, "no layer is int8"))
    assert line == "layers: nothing_quantized: no layer is int8"


def test_a_crash_gives_stage_and_last_output_without_control_characters():
    (first,) = texts(CRASHED, Topic.FIRST)
    assert first == "crash in stage 'open': ended by signal 11 (SIGSEGV)"
    (output,) = texts(CRASHED, Topic.OUTPUT)
    assert output == "loading\nbad | kernel? <&> ```"


def test_a_skip_gives_its_reason():
    assert [line.text for line in explain(SKIPPED)] == ["GATE_DATA is not set; see README"]


def test_expected_failures_are_told_with_their_reason():
    (expected,) = texts(XFAILED, Topic.EXPECTED)
    assert "fail in top1_drop, because per-channel ranges differ 100x; it did" in expected
    (unmet,) = texts(XPASSED, Topic.EXPECTED)
    assert "but every check passed" in unmet


def test_of_an_unexpected_failure_the_uncovered_check_comes_first():
    layer = check("sqnr", Status.FAIL, tier=Tier.LAYERS, subject="conv")
    expected = check("relative_mse", Status.FAIL, tier=Tier.NUMERICAL, subject="output")
    verdict = Verdict(
        case_id="a/b@c",
        checks=(expected, layer),
        expected_failure="because",
        expected_metrics=("relative_mse",),
    )
    assert first_check(verdict) == layer


def test_what_was_not_measured_hides_nothing_that_was():
    layer = check("quantized_ops", Status.FAIL, tier=Tier.LAYERS)
    missing = check("top1", Status.FAIL, value=None)
    verdict = Verdict(case_id="a/b@c", checks=(layer, missing))
    assert first_check(verdict) == layer
    assert len(texts(verdict, Topic.ALSO)) == 1


def test_an_inconclusive_case_says_what_is_missing():
    (first,) = texts(INCONCLUSIVE, Topic.FIRST)
    assert "40 more rounds are needed" in first


def test_a_verdict_without_checks_is_no_silent_pass():
    assert texts(Verdict(case_id="a/b@c", checks=()), Topic.FIRST)


def test_many_failures_are_counted_rather_than_listed():
    layers = [check("sqnr", Status.FAIL, tier=Tier.LAYERS, subject=f"conv{i}") for i in range(20)]
    also = texts(Verdict(case_id="a/b@c", checks=tuple(layers)), Topic.ALSO)
    assert len(also) == 6
    assert also[-1] == "14 more checks: layers.sqnr"


def test_text_of_unknown_origin_is_cleaned():
    hostile = "\x1b]0;title\x07a\x1b[2Jb\x00c\rd\ud800e"
    assert clean(hostile) == "ab?c\nd?e"
    assert tail("1\n2\n3\n\n", 2) == "... (1 lines before)\n2\n3"
