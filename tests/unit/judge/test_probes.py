"""What probes come to: each under its own bounds, and who is to blame told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.core.baseline import BaselineMissing
from gate.core.probes import PROBES, ProbeObserved, ProbeSpec
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.judge.judge import judge
from tests.unit.judge import builders as build

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 10)).astype(np.float32)
NEAR = X + 0.01 * RNG.normal(size=X.shape).astype(np.float32)
FAR = X + 2.0 * RNG.normal(size=X.shape).astype(np.float32)


def spec(name: str, bound: float = 20.0) -> ProbeSpec:
    return ProbeSpec(name=name, bounds=(build.tolerance(Tier.NUMERICAL, "sqnr", Op.GE, bound),))


def judged(seen: ProbeObserved | None, *, usual: float = 1.25, bound: float = 20.0):
    name = seen.name if seen is not None else "zeros"
    case = build.case(probes=(spec(name, bound),))
    observed = build.observation(probes=(seen,) if seen is not None else ())
    pin = replace(observed.pin, output_rms={"output": usual})
    verdict = judge(case, replace(observed, pin=pin), BaselineMissing(path="x"))
    (check,) = [c for c in verdict.checks if c.rule == f"probe.{name}"]
    assert check.tier is Tier.NUMERICAL
    return check


def seen(name: str = "zeros", y: np.ndarray = NEAR, **changes) -> ProbeObserved:
    return ProbeObserved(name=name, detail="fed", outputs={"output": build.sums(X, y)}, **changes)


def test_bounds_hold_or_do_not() -> None:
    assert judged(seen()).status is Status.PASS
    assert judged(seen()).measurement.metric == "probe.zeros.sqnr"
    assert judged(seen(y=FAR)).status is Status.FAIL
    assert judged(seen(y=X)).status is Status.PASS


def test_an_answer_near_zero_is_measured_beside_the_usual_one() -> None:
    tiny = ProbeObserved(name="zeros", outputs={"output": build.sums(X * 1e-3, NEAR - X)})
    assert judged(tiny).status is Status.PASS
    assert judged(tiny, usual=0.0).status is Status.FAIL


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"not_applicable": "no image"}, Status.SKIPPED, "not applicable: no image"),
        ({"refused_by_both": "shape"}, Status.SKIPPED, "neither side takes it"),
        ({"reference_fault": "shape"}, Status.SKIPPED, "the reference does not take it"),
        ({"candidate_fault": "SIGSEGV"}, Status.FAIL, "only the candidate fails on fed: SIGSEGV"),
        ({}, Status.FAIL, "no output was compared"),
    ],
)
def test_who_does_not_take_a_probe_decides(change, status, words) -> None:
    check = judged(ProbeObserved(name="zeros", detail="fed", **change))
    assert check.status is status
    assert words in check.message


def test_a_probe_that_did_not_run_is_no_pass() -> None:
    assert judged(None).status is Status.FAIL


def test_what_is_not_finite_fails_unless_the_reference_is_not_either() -> None:
    broken = X.copy()
    broken[0, 0] = np.nan
    assert judged(seen(y=broken)).status is Status.FAIL
    both = ProbeObserved(name="zeros", outputs={"output": build.sums(broken, broken)})
    assert judged(both).status is Status.SKIPPED


def test_a_candidate_that_is_compared_with_itself_is_no_reference() -> None:
    broken = X.copy()
    broken[0, 0] = np.nan
    alike = {"output": build.sums(broken, broken)}
    sound = judged(
        ProbeObserved(name="batch", outputs=alike, own={"output": build.sums(X, X)}, detail="fed")
    )
    assert (sound.status, sound.message) == (Status.FAIL, "not finite on fed: 1 element")
    assert judged(ProbeObserved(name="batch", outputs=alike, own=alike)).status is Status.SKIPPED


def test_a_model_that_depends_on_how_it_is_asked_is_no_fault_of_its_quantization() -> None:
    assert judged(seen("batch", FAR, own={"output": build.sums(X, X)})).status is Status.FAIL
    own = judged(seen("batch", FAR, own={"output": build.sums(X, FAR)}))
    assert own.status is Status.SKIPPED
    assert "the reference itself" in own.message


def test_a_reference_that_barely_depends_on_how_it_is_asked_excuses_no_candidate() -> None:
    hardly = X + 0.16 * RNG.normal(size=X.shape).astype(np.float32)
    itself = build.sums(X, hardly)
    assert judged(seen("batch", hardly, own={"output": itself})).status is Status.SKIPPED
    far = judged(seen("batch", FAR, own={"output": itself}))
    assert far.status is Status.FAIL
    assert "far more than the reference" in far.message


def test_every_probe_has_usual_bounds() -> None:
    for info in PROBES.values():
        assert info.summary
        assert info.bounds
