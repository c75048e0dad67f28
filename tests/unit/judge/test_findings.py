"""Findings that no tolerance names: the reference off its pin, and results that are too good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.core.baseline import BaselineFound
from gate.core.layer import KeptFloat
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.judge.judge import judge
from gate.metrics.sketch import SIZE, Sketch
from gate.report.explain import explain
from tests.unit.judge import builders as build

D, L, N = Tier.DEVICE, Tier.LAYERS, Tier.NUMERICAL
SQNR_BAND = build.baseline_tolerance(N, "sqnr", Op.GE, -1.0)


def against(observed, stored=None, *, tolerances=build.DEFAULT, **changes):
    case = build.case(*tolerances, baseline_policy="require", **changes)
    return judge(case, observed, BaselineFound(baseline=stored or build.baseline()))


def rule(found, name):
    (check,) = [c for c in found.checks if c.rule == name and c.tolerance is None]
    return check


def sketch(x: np.ndarray) -> tuple[float, ...]:
    made = Sketch()
    made.add(x)
    return made.result()


def pinned(x: np.ndarray, **changes):
    observed = build.observation()
    pin = replace(
        observed.pin,
        output_sha256="f" * 64,
        output_rms={"output": float(np.sqrt(np.mean(x * x)))},
        sketch={"output": sketch(x)},
        **changes,
    )
    return replace(observed, pin=pin)


X, _ = build.logits()
ACCEPTED = build.baseline(pinned(X, top1_correct=39))


@pytest.mark.parametrize(
    ("change", "top1", "status"),
    [
        (lambda x: x * (1 + 1e-6), 39, Status.PASS),  # rounding of another kernel
        (lambda x: x * (1 + 1e-6), 38, Status.PASS),  # and a tie that fell the other way
        (lambda x: x * (1 + 1e-6), 37, Status.FAIL),
        (lambda x: x[:, ::-1], 39, Status.FAIL),  # the same numbers, another function
        (lambda x: np.roll(x, 1, axis=0), 39, Status.FAIL),  # the same samples in another order
        (lambda x: x + 0.01 * np.sign(x), 39, Status.FAIL),
    ],
)
def test_a_sketch_tells_rounding_from_another_function(change, top1, status) -> None:
    x = np.ascontiguousarray(change(X))
    found = against(replace(pinned(x, top1_correct=top1)), replace(ACCEPTED, pin=_other(ACCEPTED)))
    assert rule(found, "reference_pin").status is status


def _other(stored):
    """The same pin with a digest of its own: nothing is the same to the bit."""
    return replace(stored.pin, output_sha256="0" * 64)


def test_a_reference_off_its_pin_comes_first_and_says_what_that_means() -> None:
    observed = pinned(X[:, ::-1].copy(), top1_correct=4)
    noisy = replace(observed, layers=build.layers(conv1=0.9, conv2=0.9))
    stored = replace(ACCEPTED, environment=replace(build.ENVIRONMENT, versions={"torch": "2.8"}))
    found = against(noisy, stored)
    first = explain(found)[0].text
    assert "reference_pin" in first
    for words in ("mean nothing", "torch 2.8 -> 2.13.0", "top-1 39 -> 4 of 40", "gate baseline"):
        assert words in first


def test_a_sketch_is_the_same_whatever_the_batches_and_estimates_the_distance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 7, 13)).astype(np.float32)
    parts = Sketch()
    for start in range(0, 300, 11):
        parts.add(x[start : start + 11])
    assert parts.result() == sketch(x)
    assert len(sketch(x)) == SIZE
    ratios = []
    for scale in np.logspace(-7, 0, 30):
        y = (x + scale * rng.normal(size=x.shape)).astype(np.float64)
        ratios.append(np.linalg.norm(np.subtract(sketch(y), sketch(x))) / np.linalg.norm(y - x))
    # A relative standard deviation of the square of sqrt(2 / 32), so of about 1/8 of the distance.
    assert 0.5 < min(ratios) < max(ratios) < 1.6
    assert abs(np.mean(ratios) - 1.0) < 0.1


def better(name: str, value: float):
    stored = build.baseline()
    values = tuple(replace(v, value=value) if v.metric == name else v for v in stored.values)
    return replace(stored, values=values)


def test_better_than_the_band_fails_as_a_stale_baseline_unless_the_spec_only_notes_it() -> None:
    stored = better("sqnr", 30.0)
    found = against(build.observation(), stored, tolerances=(SQNR_BAND,))
    finding = rule(found, "stale_baseline")
    assert (finding.status, finding.tier, found.status) == (Status.FAIL, N, Status.FAIL)
    for words in (
        "sqnr of output (30 dB -> ",
        "gate baseline update specs/digits.yaml",
        "unnoticed",
    ):
        assert words in finding.message
    noted = against(build.observation(), stored, tolerances=(SQNR_BAND,), on_improvement="note")
    assert noted.status is Status.PASS
    assert any("sqnr of output" in note for note in noted.notes)
    dropped = against(
        build.observation(), stored, tolerances=(SQNR_BAND,), dropped=("numerical.stale_baseline",)
    )
    assert dropped.status is Status.PASS


def test_within_the_band_and_in_what_is_noisy_nothing_is_stale() -> None:
    near = better("sqnr", 39.5)
    assert against(build.observation(), near, tolerances=(SQNR_BAND,)).status is Status.PASS
    slower = better("load_time", 900.0)
    bound = build.baseline_tolerance(D, "load_time", Op.LE, 5.0, relative=True)
    found = against(build.observation(), slower, tolerances=(bound,))
    assert not [c for c in found.checks if c.rule == "stale_baseline"]


def test_faster_and_less_accurate_names_both() -> None:
    observed = build.observation(timing=build.timing(4.0, 1.0))
    fast = against(observed)
    assert rule(fast, "speed_for_accuracy").status is Status.PASS
    assert "as accurate" in rule(fast, "speed_for_accuracy").message
    worse = replace(observed, task=replace(observed.task, candidate_top1="1" * 30 + "0" * 10))
    found = rule(against(worse), "speed_for_accuracy")
    assert found.status is Status.FAIL
    for words in ("from 2 x to 4 x", "top1 95 % -> 75 %", "top1_drop is out of its bound"):
        assert words in found.message
    same_speed = replace(worse, timing=build.timing(4.0, 1.9))
    assert rule(against(same_speed), "speed_for_accuracy").status is Status.PASS
    elsewhere = replace(worse, environment=replace(build.ENVIRONMENT, cpu_model="Other"))
    assert not [c for c in against(elsewhere).checks if c.rule == "speed_for_accuracy"]
    dropped = against(worse, dropped=("device.speed_for_accuracy",))
    assert not [c for c in dropped.checks if c.rule == "speed_for_accuracy"]


def test_a_reference_in_integers_is_told_and_can_be_dropped() -> None:
    seen = build.layers()
    both = build.observation(layers=replace(seen, reference=seen.candidate))
    found = rule(against(both), "reference_quantized")
    assert found.status is Status.FAIL
    assert "3 of 3 layers hold integer weights" in found.message
    dropped = against(both, dropped=("layers.reference_quantized",))
    assert not [c for c in dropped.checks if c.rule == "reference_quantized"]
    healthy = against(build.observation())
    assert not [c for c in healthy.checks if c.rule == "reference_quantized"]


def test_weights_of_sixteen_bits_are_a_reduction_unless_the_reference_has_them() -> None:
    seen = build.layers()
    half = tuple(
        replace(row, quantized=False, weight=None, params_quantized=0, params_half=64)
        for row in seen.candidate
    )
    found = rule(
        against(build.observation(layers=replace(seen, candidate=half))), "nothing_quantized"
    )
    assert found.status is Status.PASS
    assert "3 of them to 16 bits" in found.message
    both = replace(seen, candidate=half, reference=half)
    found = rule(against(build.observation(layers=both)), "nothing_quantized")
    assert found.status is Status.FAIL


@pytest.mark.parametrize(
    ("kept", "status", "words"),
    [
        (None, Status.SKIPPED, "the backend does not tell"),
        ((), Status.PASS, "no weight lies in float"),
        (
            (KeptFloat(name="w", size_bytes=400, unread=True),),
            Status.FAIL,
            "400 B of float weights are kept: 1 weight that nothing reads: w",
        ),
        (
            (
                KeptFloat(name="w", size_bytes=400, unread=True, stored="w_q"),
                KeptFloat(name="v", size_bytes=600, stored="v_q"),
            ),
            Status.FAIL,
            "1000 B of float weights are kept: 1 weight that nothing reads: w; v beside v_q, which it",
        ),
    ],
)
def test_float_weights_kept(kept, status, words) -> None:
    observed = replace(build.observation(), layers=replace(build.layers(), kept_float=kept))
    checks = [c for c in against(observed).checks if c.rule == "float_weights_kept"]
    assert [c.status for c in checks] == [status]
    assert all(words in c.message and c.tier is L for c in checks)
    dropped = against(observed, dropped=("layers.float_weights_kept",))
    assert not [c for c in dropped.checks if c.rule == "float_weights_kept"]
