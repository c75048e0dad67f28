"""What a drill says of a planted fault, and the score: pure functions on real observations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gate.core.baseline import BaselineFound
from gate.core.observation import Observation, RunFailure
from gate.core.result import CaseResult, Planted
from gate.core.status import Status, Tier
from gate.drill.base import Fault
from gate.drill.catalogue import FAULTS
from gate.drill.outcome import (
    FaultOutcome,
    Finding,
    outcome_of,
    same,
    score,
    score_by_family,
)
from gate.judge.results import verdict_of
from tests.unit.judge import builders as b

SCALE = FAULTS["scale_x1_05"]
LATENCY = FAULTS["latency_5_percent"]
CALIBRATION = FAULTS["calibration_tiny"]


def outcome(
    observed: Observation | None,
    *,
    fault: Fault = SCALE,
    layer: str | None = "conv2",
    also: tuple[str, ...] = (),
    **changes: Any,
) -> FaultOutcome:
    planted = Planted(fault=fault.name, layer=layer, detail="doubled", also=also)
    result = CaseResult(
        **{"case": b.case(), "observation": observed, "planted": planted, **changes}
    )
    verdict = verdict_of(result, BaselineFound(baseline=b.baseline()))
    return outcome_of(fault, result, verdict, healthy=b.observation(), seconds=1.5)


def test_a_fault_that_fails_the_case_is_caught_by_its_first_failing_check() -> None:
    found = outcome(b.observation(layers=b.layers(conv2=0.5)))

    assert found.finding is Finding.CAUGHT
    assert found.status is Status.FAIL
    first = found.catches[0]
    assert (first.tier, first.rule, first.subject) == (Tier.LAYERS, "sqnr", "conv2")
    assert first.by == "layers.sqnr >= 20.0"
    assert found.in_expected_tier
    assert found.advice is None
    assert found.seconds == 1.5


@pytest.mark.parametrize(
    ("layer", "also", "right"),
    [("conv2", (), True), ("conv1", (), False), ("conv1", ("conv2",), True), (None, (), None)],
)
def test_the_layer_is_named_rightly_or_not(
    layer: str | None, also: tuple[str, ...], right: bool | None
) -> None:
    found = outcome(b.observation(layers=b.layers(conv2=0.5)), layer=layer, also=also)

    assert found.named == "conv2"
    assert found.rightly_named is right


def test_a_layer_that_covers_the_planted_one_is_the_right_one() -> None:
    seen = b.layers(conv2=0.5)
    fused = tuple(
        replace(row, covers=("conv2", "bn2")) if row.name == "conv2" else row
        for row in seen.candidate
    )

    assert outcome(b.observation(layers=replace(seen, candidate=fused)), layer="bn2").rightly_named


def test_a_layer_that_the_fault_put_in_is_the_right_one() -> None:
    seen = b.layers(conv2=0.5)
    renamed = tuple(
        replace(row, name="cast") if row.name == "conv2" else row for row in seen.candidate
    )
    matches = tuple(
        replace(match, candidate="cast") if match.candidate == "conv2" else match
        for match in seen.matches
    )
    found = outcome(
        b.observation(layers=replace(seen, candidate=renamed, matches=matches)), layer="fc"
    )

    assert found.named == "cast"
    assert found.rightly_named is True


def test_what_slips_through_comes_with_the_tolerance_that_would_have_caught_it() -> None:
    # 40 dB -> 25 dB passes ">= 20 dB".
    found = outcome(b.observation(layers=b.layers(conv2=0.056)))

    assert found.finding is Finding.SLIPPED
    assert found.rightly_named is False
    assert found.advice is not None
    shift = found.advice.shift
    assert (shift.tier, shift.subject) == (Tier.LAYERS, "conv2")
    assert shift.worse_by > found.advice.allowed > shift.band


def test_a_run_that_observed_the_same_is_equivalent() -> None:
    other = b.observation(artifacts={"reference": "a" * 64, "candidate": "f" * 64})
    found = outcome(other, fault=CALIBRATION, layer=None)

    assert found.finding is Finding.EQUIVALENT
    assert not found.effective


def test_a_broken_file_that_is_not_noticed_at_all_has_slipped_through() -> None:
    # That it answers otherwise was checked when it was planted.
    assert outcome(b.observation()).finding is Finding.SLIPPED


def test_a_fault_of_cost_is_never_equivalent() -> None:
    found = outcome(b.observation(), fault=LATENCY, layer=None)

    assert found.finding is Finding.SLIPPED


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("injection", Finding.BROKEN),
        ("not-here", Finding.NOT_HERE),
        ("equivalent", Finding.EQUIVALENT),
        ("interrupted", Finding.INTERRUPTED),
    ],
)
def test_a_mutation_that_could_not_be_made_is_no_catch(kind: str, finding: Finding) -> None:
    failure = RunFailure(kind=kind, stage="quantize", message="no padded convolution")
    found = outcome(None, failure=failure, planted=None)

    assert found.finding is finding
    assert found.reason == "no padded convolution"
    assert not found.effective


def test_a_worker_that_dies_of_a_planted_fault_has_noticed_it() -> None:
    failure = RunFailure(kind="refused", stage="open", message="shapes do not fit")
    found = outcome(None, failure=failure)

    assert found.finding is Finding.CAUGHT
    assert found.status is Status.ERROR
    assert found.catches[0].by == "numerical.run (refused)"


def test_a_worker_that_dies_before_anything_was_planted_proves_nothing() -> None:
    failure = RunFailure(kind="crash", stage="start", message="ImportError")
    found = outcome(None, failure=failure, planted=None)

    assert found.finding is Finding.BROKEN
    assert "crash in stage start: ImportError" in found.reason


def test_a_skipped_run_is_not_here() -> None:
    assert outcome(None, skipped="no torch", planted=None).finding is Finding.NOT_HERE


def test_times_and_file_names_do_not_make_observations_differ() -> None:
    one = b.observation()

    assert same(one, replace(one, timing=b.timing(candidate_ms=3.0), notes=("x",)))
    assert not same(one, replace(one, layers=b.layers(conv2=0.011)))


def test_the_score_counts_effective_faults_alone() -> None:
    caught = outcome(b.observation(layers=b.layers(conv2=0.5)))
    wrong_layer = outcome(b.observation(layers=b.layers(conv2=0.5)), layer="fc")
    slipped = outcome(b.observation(layers=b.layers(conv2=0.056)))
    equivalent = outcome(b.observation(), fault=CALIBRATION, layer=None)
    latency = outcome(b.observation(), fault=LATENCY, layer=None)
    found = score([caught, wrong_layer, slipped, equivalent, latency])

    assert (found.caught, found.effective) == (2, 4)
    assert (found.named, found.with_layer) == (1, 3)
    assert found.equivalent == 1
    assert found.percent == 50.0
    families = score_by_family([caught, slipped, latency])
    assert {name: (s.caught, s.effective) for name, s in families.items()} == {
        "weights": (1, 2),
        "runtime": (0, 1),
    }


def test_no_effective_fault_is_no_score() -> None:
    assert score([]).percent is None
    assert score([outcome(b.observation(), fault=CALIBRATION, layer=None)]).percent is None
