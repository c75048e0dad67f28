"""The rules that hold whether a spec asks for them or not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gate.baseline.make import make_baseline
from gate.core.baseline import (
    BaselineBroken,
    BaselineFound,
    BaselineLookup,
    BaselineMissing,
    BaselineNotComparable,
)
from gate.core.case import Case
from gate.core.layer import LayerMatch
from gate.core.status import Status, Tier
from gate.core.task import CustomMetric
from gate.core.tolerance import Op
from gate.core.verdict import Check, Verdict
from gate.judge.judge import judge
from tests.unit.judge import builders as build

MISSING = BaselineMissing(path="baselines/x.json")
ANCHORED = build.baseline_tolerance(Tier.DEVICE, "top1_drop", Op.LE, 1.0)


def verdict(observed=None, lookup: BaselineLookup = MISSING, **changes) -> Verdict:
    tolerances = changes.pop("tolerances", build.DEFAULT)
    return judge(build.case(*tolerances, **changes), observed or build.observation(), lookup)


def against(observed, stored=None, **changes) -> Verdict:
    found = BaselineFound(baseline=stored or build.baseline())
    return verdict(observed, found, baseline_policy="require", **changes)


def rules(found: Verdict, name: str) -> list[Check]:
    return [c for c in found.checks if c.rule == name and c.tolerance is None]


def rule(found: Verdict, name: str) -> Check:
    (check,) = rules(found, name)
    return check


def test_a_healthy_run_passes_and_every_rule_says_so() -> None:
    found = against(build.observation())
    assert found.status is Status.PASS
    names = {c.rule for c in found.checks if c.tolerance is None}
    assert names == {
        "coverage", "outputs", "nothing_quantized", "identical", "size_reduction", "baseline",
        "reference_pin", "layer_contract", "speed_for_accuracy", "float_weights_kept",
    }  # fmt: skip
    assert found.first_bad_layer is None
    assert found.baseline_note == "compared"


def test_a_case_that_demands_nothing_is_an_error() -> None:
    case = replace(build.case(), tolerances=())
    assert judge(case, build.observation(), MISSING).status is Status.ERROR


@pytest.mark.parametrize(
    "change", [{"case_id": "digits/other@torch-x86"}, {"schema": 2}], ids=["case", "schema"]
)
def test_an_observation_of_something_else_is_an_error(change) -> None:
    found = verdict(build.observation(**change))
    assert found.status is Status.ERROR
    assert rule(found, "identity").status is Status.ERROR


def test_missing_samples_layers_and_rounds_fail_coverage() -> None:
    assert rule(verdict(build.observation(samples_evaluated=39)), "coverage").status is Status.FAIL
    few = build.observation(layers=replace(build.layers(), samples=3))
    assert [c.subject for c in rules(verdict(few), "coverage")] == ["case", "layers"]
    assert verdict(few).status is Status.FAIL
    timing = build.timing()
    cut = replace(timing, candidate_wall_ns=timing.candidate_wall_ns[:5])
    found = verdict(build.observation(timing=cut), tolerances=(build.FINITE, build.TOP1_DROP))
    assert [c.subject for c in rules(found, "coverage")] == ["case", "timing"]
    assert found.status is Status.FAIL


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_output_that_is_not_finite_fails_although_nothing_numerical_is_demanded(value) -> None:
    x, y = build.logits()
    y[0, 0] = value
    observed = build.observation(outputs={"output": build.output(x, y)})
    found = verdict(observed, tolerances=(build.TOP1_DROP,))
    assert found.status is Status.FAIL
    assert rule(found, "outputs").tier is Tier.DEVICE
    assert "1 element of the candidate not finite" in rule(found, "outputs").message


def test_a_reference_that_is_not_finite_fails() -> None:
    x, y = build.logits()
    x[0, 0] = math.nan
    found = verdict(build.observation(outputs={"output": build.output(x, y)}))
    assert "of the reference not finite" in rule(found, "outputs").message
    assert found.status is Status.FAIL


def test_missing_and_misshapen_outputs_fail_by_name() -> None:
    observed = build.observation()
    wrong = replace(
        observed.outputs["output"],
        candidate=replace(observed.outputs["output"].candidate, shape=(1, 10)),
    )
    found = verdict(
        replace(observed, outputs={"output": wrong}, missing_outputs=("aux",)),
        tolerances=(build.TOP1_DROP,),
    )
    assert {c.subject for c in rules(found, "outputs")} == {"output", "aux"}
    assert found.status is Status.FAIL
    nothing = verdict(build.observation(outputs={}))
    assert rule(nothing, "outputs").status is Status.FAIL


@pytest.mark.parametrize(
    ("error", "status"), [(0.01, Status.PASS), (0.011, Status.FAIL), (math.nan, Status.FAIL)]
)
def test_an_export_that_changes_the_function_fails(error, status) -> None:
    found = verdict(build.observation(conversion_relative_mse_percent=error))
    assert rule(found, "conversion").status is status
    assert found.status is status


def test_a_layer_that_is_not_finite_fails_and_is_the_first_bad_one() -> None:
    observed = build.layers()
    x = np.ones((4, 8), np.float32)
    y = x.copy()
    y[0, 0] = math.nan
    bad = replace(observed.matches[1], errors=build.sums(x, y))
    seen = replace(observed, matches=(observed.matches[0], bad, observed.matches[2]))
    found = verdict(build.observation(layers=seen), tolerances=(build.FINITE,))
    assert rule(found, "finite_layers").subject == "conv2"
    assert found.status is Status.FAIL


def test_nothing_quantized_fails_for_every_method_but_none() -> None:
    observed = build.layers()
    rows = tuple(build.row(name, quantized=False) for name in build.LAYER_NAMES)
    observed = build.observation(layers=replace(observed, candidate=rows))
    found = verdict(observed, tolerances=(build.SHAPES,))
    assert rule(found, "nothing_quantized").status is Status.FAIL
    assert "conv1, conv2, fc" in rule(found, "nothing_quantized").message
    assert verdict(observed, tolerances=(build.SHAPES,), method="none").status is Status.PASS


def test_weights_of_few_bits_count_as_quantized() -> None:
    rows = tuple(
        replace(build.row(name, quantized=False), params_quantized=64) for name in build.LAYER_NAMES
    )
    observed = build.observation(layers=replace(build.layers(), candidate=rows))
    assert verdict(observed, tolerances=(build.SHAPES,)).status is Status.PASS


def test_layers_that_are_demanded_and_were_not_observed_fail_the_rule() -> None:
    found = verdict(build.observation(layers=None), tolerances=(build.SHAPES,))
    assert rule(found, "nothing_quantized").status is Status.FAIL
    assert not rules(verdict(build.observation(layers=None), tolerances=(build.FINITE,)),
                     "nothing_quantized")  # fmt: skip


def test_a_candidate_identical_to_the_reference_fails_unless_it_is_the_float_model() -> None:
    x, _ = build.logits()
    observed = build.observation(outputs={"output": build.output(x, x.copy())})
    found = verdict(observed, tolerances=(build.SQNR,))
    assert rule(found, "identical").status is Status.FAIL
    assert found.status is Status.FAIL
    assert verdict(observed, tolerances=(build.SQNR,), method="none").status is Status.PASS


def sized(reference: int, candidate: int):
    resources = build.observation().resources
    return build.observation(
        resources=replace(resources, reference_size_bytes=reference, candidate_size_bytes=candidate)
    )


def test_no_size_reduction_fails_unless_an_override_drops_it() -> None:
    observed = sized(400_000, 400_000)
    found = verdict(observed)
    assert "no size reduction: 400000 B" in rule(found, "size_reduction").message
    assert found.status is Status.FAIL
    assert verdict(observed, dropped=("device.size_reduction",)).status is Status.PASS
    assert verdict(observed, method="none").status is Status.PASS


def test_a_graph_that_outweighs_its_weights_says_nothing_about_their_size() -> None:
    found = rule(verdict(sized(941, 2048)), "size_reduction")
    assert found.status is Status.PASS
    assert "too small to tell" in found.message


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, Status.PASS, "to the bit"),
        ({"output_sha256": "f" * 64}, Status.PASS, "last digits"),
        ({"output_sha256": "f" * 64, "output_rms": {"output": 1.2501}}, Status.PASS, "last"),
        ({"output_sha256": "f" * 64, "output_rms": {"output": 1.2502}}, Status.FAIL, "RMS"),
        ({"output_sha256": "f" * 64, "output_rms": {"output": math.nan}}, Status.FAIL, "RMS"),
        ({"output_sha256": "f" * 64, "output_rms": {}}, Status.FAIL, "outputs"),
        ({"output_sha256": "f" * 64, "top1_correct": 38}, Status.FAIL, "top-1 39 -> 38 of 40"),
        ({"output_sha256": "f" * 64, "top1_correct": None}, Status.FAIL, "top-1"),
        ({"top1_correct": 38}, Status.FAIL, "top-1"),
        ({"output_sha256": "f" * 64, "samples": 41}, Status.FAIL, "41 samples"),
    ],
)
def test_the_reference_is_pinned(change, status, words) -> None:
    observed = build.observation()
    found = against(replace(observed, pin=replace(observed.pin, **change)))
    check = rule(found, "reference_pin")
    assert check.status is status
    assert words in check.message
    assert found.status is status


def test_one_flip_in_a_thousand_is_within_the_pin() -> None:
    observed = build.observation()
    old = replace(observed.pin, samples=1000, top1_correct=990)
    stored = replace(build.baseline(), pin=old)
    for top1, status in ((989, Status.PASS), (988, Status.FAIL)):
        pin = replace(old, output_sha256="f" * 64, top1_correct=top1)
        assert rule(against(replace(observed, pin=pin), stored), "reference_pin").status is status


def test_a_pin_that_is_missing_on_either_side_is_no_pass() -> None:
    observed = build.observation()
    assert rule(against(replace(observed, pin=None)), "reference_pin").status is Status.FAIL
    stored = replace(build.baseline(), pin=None)
    assert rule(against(observed, stored), "reference_pin").status is Status.SKIPPED


def rebuilt(**changes):
    """An observation with one candidate layer built in another way."""
    observed = build.layers()
    name = changes.pop("name", "conv2")
    rows = tuple(replace(row, **changes) if row.name == name else row for row in observed.candidate)
    return build.observation(layers=replace(observed, candidate=rows))


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (rebuilt(quantized=False), "was int8, now float"),
        (rebuilt(outputs=build.row("x", shape=(4, 7)).outputs), "uint8[4, 8] -> uint8[4, 7]"),
        (rebuilt(inputs=build.row("x", quantized=False).inputs), "uint8[4, 8] -> float32[4, 8]"),
        (rebuilt(weight=replace(build.row("x").weight, dtype="int4")), "weight int8 -> int4"),
        (
            rebuilt(weight=replace(build.row("x").weight, scheme="per-tensor-affine")),
            "weight scheme per-channel-symmetric -> per-tensor-affine",
        ),
    ],
)
def test_layers_must_be_built_as_in_the_baseline(observed, words) -> None:
    found = against(observed, tolerances=(build.LAYER_SQNR,))
    check = rule(found, "layer_contract")
    assert (check.subject, check.status) == ("conv2", Status.FAIL)
    assert words in check.message
    assert found.first_bad_layer == "conv2"
    assert not rules(against(observed, tolerances=(build.TOP1_DROP,)), "layer_contract")


def test_added_and_missing_layers_break_the_contract_and_another_operator_name_does_not() -> None:
    found = against(rebuilt(name="conv2", op="Renamed"), tolerances=(build.LAYER_SQNR,))
    assert rule(found, "layer_contract").status is Status.PASS
    observed = build.layers()
    rows = (*observed.candidate[:2], build.row("head"))
    match = LayerMatch(candidate="head", reference=("fc",), rule="renamed", errors=None)
    seen = replace(observed, candidate=rows, matches=(*observed.matches[:2], match))
    found = against(build.observation(layers=seen), tolerances=(build.LAYER_SQNR,))
    messages = {c.subject: c.message for c in rules(found, "layer_contract")}
    assert messages == {
        "head": "added (QuantizedLinear)",
        "fc": "missing (was QuantizedLinear)",
    }


def test_other_data_kernels_or_case_make_the_baseline_unusable_and_fail() -> None:
    for observed, words in (
        (build.observation(data_digest="0" * 64), "other evaluation data"),
        (
            build.observation(environment=replace(build.ENVIRONMENT, engine="onednn")),
            "recorded with torch/x86, this run used torch/onednn",
        ),
    ):
        found = against(observed, tolerances=(build.FINITE, ANCHORED))
        assert rule(found, "baseline").status is Status.FAIL
        assert words in rule(found, "baseline").message
        assert found.checks[-1].status is Status.SKIPPED
        assert found.status is Status.FAIL
        assert found.baseline_note.startswith("not comparable")
    foreign = replace(build.baseline(), case_id="digits/other@torch-x86")
    assert against(build.observation(), foreign).status is Status.ERROR
    elsewhere = replace(build.ENVIRONMENT, isa=("neon",))
    assert against(build.observation(environment=elsewhere)).status is Status.ERROR


PSNR = CustomMetric(name="psnr", entry="own.metrics:psnr", unit="dB", direction="higher")
YOLO = {"format": "yolo-v5", "confidence": 0.25, "overlap": 0.45}


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ({"decoding": YOLO}, {"decoding": {**YOLO, "confidence": 0.01}}, "another decoding"),
        ({"decoding": YOLO}, {"decoding": {**YOLO, "overlap": 0.9}}, "another decoding"),
        ({}, {"decoding": YOLO}, "another decoding"),
        ({"task": "other"}, {}, "another task (other, image-classification now)"),
        ({"task": "other", "decoding": YOLO}, {}, "now), decoding"),
        (
            {"metrics": (PSNR,)},
            {"metrics": (replace(PSNR, entry="own.metrics:other"),)},
            "another definition of custom.psnr",
        ),
        (
            {"metrics": (PSNR,)},
            {"metrics": (replace(PSNR, aggregate="ratio"),)},
            "another definition of custom.psnr",
        ),
        ({"decoding": YOLO}, {"decoding": dict(reversed(YOLO.items()))}, None),
        ({"metrics": (PSNR,)}, {}, None),
        ({}, {"metrics": (PSNR,)}, None),
    ],
)
def test_values_of_another_task_decoding_or_metric_are_not_compared_with(
    then: dict[str, Any], now: dict[str, Any], words: str | None
) -> None:
    stored = make_baseline(scored_by(then), build.observation(), build.PROVENANCE)
    changes = {name: getattr(scored_by(now), name) for name in ("model", "metrics")}
    tolerances = (build.FINITE, ANCHORED)
    found = against(build.observation(), stored, tolerances=tolerances, **changes)
    if words is None:
        assert rule(found, "baseline").status is Status.PASS
        return
    assert rule(found, "baseline").status is Status.FAIL
    assert words in rule(found, "baseline").message
    assert "gate baseline update" in rule(found, "baseline").message
    assert found.checks[-1].status is Status.SKIPPED
    # An older file does not tell, and is compared as before.
    older = replace(stored, scoring={})
    found = against(build.observation(), older, tolerances=tolerances, **changes)
    assert rule(found, "baseline").status is Status.PASS


def scored_by(changes: dict[str, Any]) -> Case:
    made = build.case(metrics=changes.get("metrics", ()))
    of_model = {name: value for name, value in changes.items() if name != "metrics"}
    return replace(made, model=replace(made.model, **of_model))


@pytest.mark.parametrize(
    ("lookup", "policy", "rule_status", "status", "note"),
    [
        (MISSING, "require", Status.FAIL, Status.FAIL, "none: required"),
        (MISSING, "record", Status.SKIPPED, Status.PASS, "none: to be recorded"),
        (MISSING, "ignore", None, Status.PASS, "ignored"),
        (
            BaselineNotComparable(reason="no avx512_vnni here"),
            "require",
            Status.NOT_COMPARABLE,
            Status.NOT_COMPARABLE,
            "not comparable: no avx512_vnni here",
        ),
        (
            BaselineNotComparable(reason="other rule", rule_changed=True),
            "require",
            Status.FAIL,
            Status.FAIL,
            "not comparable: other rule",
        ),
        (
            BaselineBroken(path="b.json", reason="edited; update it"),
            "record",
            Status.ERROR,
            Status.ERROR,
            "broken: edited; update it",
        ),
        (BaselineBroken(path="b.json", reason="edited"), "ignore", None, Status.PASS, "ignored"),
    ],
)
def test_look_ups_without_a_baseline_follow_the_policy(
    lookup, policy, rule_status, status, note
) -> None:
    found = verdict(None, lookup, baseline_policy=policy, tolerances=(build.FINITE, ANCHORED))
    assert [c.status for c in rules(found, "baseline")] == ([rule_status] if rule_status else [])
    anchored = found.checks[-1]
    not_comparable = status is Status.NOT_COMPARABLE
    assert anchored.status is (Status.NOT_COMPARABLE if not_comparable else Status.SKIPPED)
    assert anchored.message
    assert found.status is status
    assert found.baseline_note == note


def test_a_required_baseline_that_is_missing_names_place_and_way_out() -> None:
    message = rule(verdict(baseline_policy="require"), "baseline").message
    assert "baselines/x.json" in message
    assert "gate baseline update specs/digits.yaml --select 'digits/static@torch-x86'" in message


def test_notes_tell_an_edited_spec_other_versions_and_a_stale_baseline() -> None:
    stored = build.baseline(spec_digest="0" * 64)
    stored = replace(stored, environment=replace(stored.environment, versions={"torch": "2.8"}))
    stored = replace(
        stored,
        values=tuple(
            replace(v, value=9.0) if v.metric == "top1_drop" else v for v in stored.values
        ),
    )
    observed = build.observation(notes=("said",))
    found = against(observed, stored, tolerances=(ANCHORED,), on_improvement="note")
    text = "\n".join(found.notes)
    assert found.status is Status.PASS
    for words in ("said", "spec was edited", "torch 2.8 -> 2.13.0", "device.top1_drop of case"):
        assert words in text


def test_the_first_bad_layer_is_the_first_in_order_of_execution() -> None:
    observed = build.observation(layers=build.layers(conv2=0.5, fc=0.9))
    found = verdict(observed)
    assert found.first_bad_layer == "conv2"
    assert found.tier_status(Tier.LAYERS) is Status.FAIL
    assert found.tier_status(Tier.NUMERICAL) is Status.PASS


def test_hidden_layers_without_arithmetic_are_noted_not_failed() -> None:
    observed = build.layers()
    hidden = replace(build.row("pool", quantized=False), computes=False, capture=None)
    match = LayerMatch(candidate="pool", reference=("pool",), rule="name", errors=None)
    seen = replace(
        observed,
        reference=(*observed.reference, hidden),
        candidate=(*observed.candidate, hidden),
        matches=(*observed.matches, match),
    )
    found = verdict(build.observation(layers=seen))
    assert found.status is Status.PASS
    assert any("pool" in note for note in found.notes)


def test_a_layer_that_only_the_references_runtime_hides_is_noted_too() -> None:
    observed = build.layers()
    pool = replace(build.row("pool", quantized=False), computes=False)
    match = LayerMatch(candidate="pool", reference=("pool",), rule="name", errors=None)
    seen = replace(
        observed,
        reference=(*observed.reference, replace(pool, capture=None)),
        candidate=(*observed.candidate, pool),
        matches=(*observed.matches, match),
    )
    assert verdict(build.observation(layers=seen)).status is Status.PASS
    lost = replace(seen, reference=(*observed.reference, pool))
    assert verdict(build.observation(layers=lost)).status is Status.FAIL


def test_an_output_that_was_compared_in_part_fails_without_being_demanded() -> None:
    observed = build.observation()
    part = replace(observed.outputs["output"], samples=12)
    found = verdict(replace(observed, outputs={"output": part}), tolerances=(build.TOP1_DROP,))
    assert found.status is Status.FAIL
    assert "12 of 40 planned samples" in rule(found, "outputs").message
