"""Which layer is named: by its own error first, by its output's where nothing is known of that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.core.baseline import BaselineFound, BaselineMissing
from gate.core.layer import ErrorSums, LayerMatch, LayersObserved
from gate.core.observation import Observation
from gate.core.probes import ProbeObserved, ProbeSpec
from gate.core.status import Status, Tier
from gate.core.tolerance import Op, Tolerance
from gate.core.verdict import Verdict
from gate.judge.judge import judge
from gate.judge.localise import bad_by_itself
from gate.judge.measure import measure
from tests.unit.judge import builders as build

ISOLATED = build.tolerance(Tier.LAYERS, "isolated_sqnr", Op.GE, 20.0)
NUMERICAL = build.tolerance(Tier.NUMERICAL, "sqnr", Op.GE, 90.0)
"""Fails, so that there is something to explain."""


def observed(cumulative: dict[str, float], isolated: dict[str, float | None]) -> Observation:
    """Relative errors of layers in place and alone; None where one could not be run alone."""
    seen = build.layers(**cumulative)
    alone = {
        m.candidate: m.errors
        for m in build.layers(**{n: e or 0 for n, e in isolated.items()}).matches
    }

    def extended(match: LayerMatch) -> LayerMatch:
        if isolated.get(match.candidate, 0.01) is None:
            return replace(match, why_not_isolated="the backend cannot run single layers")
        return replace(match, isolated=alone[match.candidate])

    whole: LayersObserved = replace(seen, matches=tuple(map(extended, seen.matches)))
    return build.observation(layers=whole)


def verdict(
    seen: Observation, *tolerances: Tolerance, accepted: Observation | None = None
) -> Verdict:
    policy = "ignore" if accepted is None else "require"
    case = build.case(*tolerances, baseline_policy=policy)
    lookup = (
        BaselineMissing(path="nowhere")
        if accepted is None
        else BaselineFound(baseline=build.baseline(accepted))
    )
    return judge(case, seen, lookup)


def test_the_first_that_is_out_of_its_isolated_band_goes_before_the_first_bad_output() -> None:
    seen = observed({"conv1": 0.3, "conv2": 0.5, "fc": 0.5}, {"conv2": 0.4})
    found = verdict(seen, build.LAYER_SQNR, ISOLATED)
    assert found.first_bad_layer == "conv2"
    assert found.first_bad_layer_why.startswith("isolated: ")
    assert "demanded >= 20 dB" in found.first_bad_layer_why
    assert "whatever comes before it" in found.first_bad_layer_why


def test_a_layer_whose_predecessors_are_good_is_said_to_be_the_first() -> None:
    seen = observed({"conv2": 0.5, "fc": 0.5}, {"conv2": 0.4})
    found = verdict(seen, build.LAYER_SQNR, ISOLATED)
    assert found.first_bad_layer == "conv2"
    assert found.first_bad_layer_why.endswith("every layer before it is good")


def test_without_isolated_errors_the_first_bad_output_is_named() -> None:
    seen = observed({"conv2": 0.5, "fc": 0.5}, {"conv1": None, "conv2": None, "fc": None})
    found = verdict(seen, build.LAYER_SQNR)
    assert found.first_bad_layer == "conv2"
    assert found.first_bad_layer_why.startswith("its output's sqnr: ")


def test_what_is_demanded_and_could_not_be_run_alone_fails_with_its_reason() -> None:
    found = verdict(observed({}, {"conv2": None}), ISOLATED)
    (failed,) = (check for check in found.checks if check.status is Status.FAIL)
    assert failed.subject == "conv2"
    assert "could not be run alone: the backend cannot run single layers" in failed.message


def test_the_baseline_s_own_values_are_the_default_band() -> None:
    healthy = observed({}, {"conv1": 0.05})
    broken = observed({}, {"conv1": 0.05, "conv2": 0.02})
    found = verdict(broken, NUMERICAL, accepted=healthy)
    assert found.first_bad_layer == "conv2"
    assert "when the baseline was accepted" in found.first_bad_layer_why
    assert {c.rule for c in found.checks if c.status is Status.FAIL} == {"sqnr"}, "it only names"


def test_a_passing_case_names_nothing() -> None:
    found = verdict(observed({}, {"conv2": 0.4}), accepted=observed({}, {}))
    assert found.first_bad_layer is None
    assert found.first_bad_layer_why == ""


def test_a_failing_case_whose_layers_are_all_as_they_were_names_nothing() -> None:
    assert verdict(observed({}, {}), NUMERICAL, accepted=observed({}, {})).first_bad_layer is None


def test_isolated_errors_are_measurements_like_any_other() -> None:
    found = measure(observed({}, {"conv2": 0.1, "fc": None}))
    values = {m.subject: m.value for m in found.of(Tier.LAYERS, "isolated_sqnr")}
    assert values["conv2"] == pytest.approx(20.0, abs=2.5)
    assert values["fc"] is None
    channels = {m.subject: m.value for m in found.of(Tier.LAYERS, "isolated_worst_channel_nmse")}
    assert channels["conv2"] > channels["conv1"] > 0.0


def names(now: dict[str, float], then: dict[str, float], channel: tuple = ({}, {})) -> list[str]:
    return [name for name, _ in bad_by_itself(now, channel[0], then, channel[1])]


def test_band_of_the_baseline() -> None:
    then = {"a": 40.0, "b": 40.0, "c": 150.0, "d": 30.0}
    assert names({"a": 39.1, "b": 38.9, "c": 61.0, "d": 35.0}, then) == ["b"]
    assert names({"c": 50.0}, then) == ["c"], "from rounding of floats to real noise"
    assert names({"new": 5.0}, then) == [], "nothing is known of a layer that was not there"
    one = ({"a": 0.9, "b": 4.1, "d": 0.15}, {"a": 0.5, "b": 2.0, "d": 0.001})
    assert names(dict.fromkeys("abd", 40.0), dict.fromkeys("abd", 40.0), one) == ["b"]


def test_without_a_baseline_the_one_that_is_unlike_the_others_is_named() -> None:
    rng = np.random.default_rng(0)
    usual = {f"l{i}": float(v) for i, v in enumerate(35.0 + 2.0 * rng.standard_normal(20))}
    assert names(usual, {}) == []
    assert names({**usual, "l7": 12.0, "l9": 18.0}, {}) == ["l7"]
    assert names({**usual, "glue": 200.0}, {}) == []
    assert names({"a": 40.0, "b": 10.0}, {}) == [], "too few to say what is usual"
    channel = dict.fromkeys(usual, 0.1)
    assert names(usual, {}, ({**channel, "l3": 80.0}, {})) == ["l3"]


@pytest.mark.parametrize("seed", range(20))
def test_healthy_layers_of_any_spread_are_not_named(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.0, 3.0)
    values = {f"l{i}": float(v) for i, v in enumerate(30.0 + spread * rng.uniform(-2, 2, 30))}
    assert names(values, {}) == []


def batch_probe(bound: float, **relative: float) -> tuple[ProbeSpec, ProbeObserved]:
    """The outputs an error of a fifth, 14 dB; layers the given relative errors."""

    def sums(error: float) -> ErrorSums:
        return ErrorSums(elements=100, sum_x2=100.0, sum_y2=100.0, sum_err2=100.0 * error**2)

    tolerance = build.tolerance(Tier.NUMERICAL, "sqnr", Op.GE, bound)
    seen = ProbeObserved(
        name="batch",
        outputs={"output": sums(0.2)},
        own={"output": sums(0.0)},
        alone={name: sums(error) for name, error in relative.items()},
    )
    return ProbeSpec(name="batch", bounds=(tolerance,)), seen


def test_a_layer_that_answers_otherwise_alone_is_named_where_no_layer_else_is_off() -> None:
    spec, seen = batch_probe(30.0, fc=0.3, conv2=0.2, conv1=0.001)
    case = build.case(build.LAYER_SQNR, probes=(spec,))
    healthy = observed({}, {})
    found = judge(case, replace(healthy, probes=(seen,)), BaselineMissing(path="nowhere"))

    assert found.status is Status.FAIL
    assert found.first_bad_layer == "conv2"  # in order of execution
    assert "alone than in a batch: 14 dB" in found.first_bad_layer_why

    broken = replace(observed({"fc": 0.5}, {"fc": 0.5}), probes=(seen,))
    found = judge(case, broken, BaselineMissing(path="nowhere"))
    assert found.first_bad_layer == "fc"


def test_a_layer_within_the_probe_s_bound_is_not_named() -> None:
    spec, seen = batch_probe(30.0, conv1=0.001, conv2=0.01)
    case = build.case(build.LAYER_SQNR, probes=(spec,))
    found = judge(case, replace(observed({}, {}), probes=(seen,)), BaselineMissing(path="nowhere"))

    assert found.status is Status.FAIL
    assert found.first_bad_layer is None
    loose, _ = batch_probe(10.0)
    passing = build.case(build.LAYER_SQNR, probes=(loose,))
    seen_bad = replace(observed({}, {}), probes=(batch_probe(10.0, conv1=0.5)[1],))
    found = judge(passing, seen_bad, BaselineMissing(path="nowhere"))
    assert found.first_bad_layer is None
