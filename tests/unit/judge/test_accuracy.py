"""Drops judged exactly and by certificate, and flips against the baseline's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.baseline.diff import diff
from gate.baseline.text import parse, render
from gate.core.baseline import Baseline, BaselineFound, BaselineMissing
from gate.core.flipped import Flipped
from gate.core.observation import Observation, ReferencePin, TaskObserved
from gate.core.status import ExitCode, Status, Tier
from gate.core.tolerance import Mode, Op
from gate.core.verdict import Check, Verdict
from gate.judge.judge import judge
from gate.judge.summary import summarize
from gate.metrics.catalogue import BY_NAME
from gate.metrics.certificate import certifies, hopeless, may_certify
from gate.metrics.sample_size import samples_needed
from tests.unit.judge import builders as build

D = Tier.DEVICE


def drop_below(bound: float, mode: Mode = Mode.AUTO, op: Op = Op.LT):
    return build.tolerance(D, "top1_drop", op, bound, mode=mode, text=f"{op.value} {bound:g} pp")


NEW_FLIPS = build.tolerance(D, "new_flips", Op.LE, 1.0)


def flipping(n: int, lost: int, gained: int, *, seed: int = 0) -> Observation:
    """``n`` samples, three quarters of which the reference has right; the flips spread at random."""
    rng = np.random.default_rng(seed)
    reference = np.zeros(n, dtype=int)
    reference[rng.permutation(n)[: 3 * n // 4]] = 1
    candidate = reference.copy()
    candidate[rng.permutation(np.flatnonzero(reference == 1))[:lost]] = 0
    candidate[rng.permutation(np.flatnonzero(reference == 0))[:gained]] = 1
    return of(reference, candidate)


def of(reference: np.ndarray, candidate: np.ndarray) -> Observation:
    n = len(reference)
    text = ["".join(map(str, side)) for side in (reference, candidate)]
    seen = build.observation()
    x, y = (np.resize(logits, (n, build.CLASSES)) for logits in build.logits())
    pin = ReferencePin(
        output_sha256="e" * 64,
        output_rms={"output": 1.25},
        samples=n,
        top1_correct=int(reference.sum()),
    )
    return replace(
        seen,
        samples_planned=n,
        samples_evaluated=n,
        outputs={"output": build.output(x, y)},
        task=TaskObserved(reference_top1=text[0], candidate_top1=text[1]),
        pin=pin,
    )


def verdict(observed: Observation, *tolerances, baseline: Baseline | None = None) -> Verdict:
    found = BaselineFound(baseline=baseline) if baseline is not None else BaselineMissing(path="b")
    policy = "require" if baseline is not None else "ignore"
    return judge(build.case(*tolerances, baseline_policy=policy), observed, found)


def check(told: Verdict, rule: str) -> Check:
    (found,) = (c for c in told.checks if c.rule == rule)
    return found


# --- modes ---------------------------------------------------------------------------------------


def test_exact_compares_the_measured_drop_and_still_shows_the_interval() -> None:
    found = check(verdict(flipping(1000, 20, 16), drop_below(1.0, Mode.EXACT)), "top1_drop")
    assert found.status is Status.PASS
    assert found.measurement is not None
    assert found.measurement.value == pytest.approx(0.4)
    assert found.measurement.low < 0.0
    assert found.measurement.high > 1.0
    assert "exact, on these 1000 samples" in found.message


@pytest.mark.parametrize(
    ("lost", "gained", "status"),
    [(60, 55, Status.PASS), (180, 40, Status.FAIL), (120, 80, Status.INCONCLUSIVE)],
)
def test_certify_compares_the_interval(lost: int, gained: int, status: Status) -> None:
    found = check(verdict(flipping(6000, lost, gained), drop_below(1.0, Mode.CERTIFY)), "top1_drop")
    assert found.status is status
    assert found.measurement is not None
    low, high = found.measurement.low, found.measurement.high
    assert low is not None
    assert high is not None
    assert (high < 1.0) == (status is Status.PASS)
    assert (low > 1.0) == (status is Status.FAIL)
    if status is Status.INCONCLUSIVE:
        assert "more samples needed for 90 % power" in found.message


def test_a_small_drop_over_the_bound_is_no_failure_in_general() -> None:
    """2.2 pp of 500 samples: exactly too much, but no proof."""
    observed = flipping(500, 20, 9)
    assert check(verdict(observed, drop_below(2.0, Mode.EXACT)), "top1_drop").status is Status.FAIL
    certified = check(verdict(observed, drop_below(2.0, Mode.CERTIFY)), "top1_drop")
    assert certified.status is Status.INCONCLUSIVE


def test_inconclusive_has_its_own_exit_code_and_can_be_allowed() -> None:
    told = verdict(flipping(1000, 20, 16), drop_below(1.0, Mode.CERTIFY), *build.DEFAULT[:5])
    assert told.status is Status.INCONCLUSIVE
    assert summarize([told]).exit_code == ExitCode.INCONCLUSIVE
    allowed = summarize([told], allow_inconclusive=True)
    assert allowed.exit_code == ExitCode.PASS
    assert "1 case inconclusive" in allowed.because


def test_auto_follows_from_the_bound_and_the_number_of_samples_alone() -> None:
    needed = samples_needed(0.01, 0.05)
    assert needed is not None
    assert certifies(drop_below(1.0), needed)
    assert not certifies(drop_below(1.0), needed - 1)
    assert not certifies(drop_below(1.0, Mode.EXACT), 10**6)
    assert certifies(drop_below(1.0, Mode.CERTIFY), 10)


def test_more_flips_are_never_judged_more_leniently() -> None:
    """By the measured share of flips, many flips would turn a certificate into a look at the drop."""
    few, many = flipping(5000, 60, 25), flipping(5000, 560, 525)
    statuses = [
        check(verdict(observed, drop_below(1.0)), "top1_drop").status for observed in (few, many)
    ]
    assert statuses == [Status.INCONCLUSIVE, Status.INCONCLUSIVE]


@pytest.mark.parametrize(
    "tolerance",
    [
        build.baseline_tolerance(D, "top1_drop", Op.LE, 0.5),
        drop_below(1.0, op=Op.EQ),
        drop_below(0.0, op=Op.LE),
        drop_below(-1.0),
        build.tolerance(D, "top1", Op.GE, 70.0),
        build.tolerance(D, "size", Op.LE, 1.0),
    ],
)
def test_what_has_no_meaning_beyond_the_set_is_exact(tolerance) -> None:
    assert not may_certify(tolerance)
    assert not certifies(tolerance, 10**6)


def test_only_differences_have_an_interval() -> None:
    names = {i.name for i in BY_NAME.values() if i.has_interval}
    assert names >= {"top1_drop", "top5_drop", "map_drop", "wer_rise"}
    assert all(name.endswith(("_drop", "_rise")) for name in names)


def test_a_certificate_that_cannot_be_had_is_known_before_the_run() -> None:
    wanted = [drop_below(1.0, Mode.CERTIFY), drop_below(0.1, Mode.EXACT), drop_below(0.1)]
    (line,) = hopeless(wanted, 298)
    assert line.startswith("top1_drop < 1 pp cannot be certified on 298 samples: it takes 299")
    assert hopeless(wanted, 299) == []


def test_top5_has_its_own_counts() -> None:
    observed = flipping(600, 6, 6)
    assert observed.task is not None
    task = replace(
        observed.task,
        reference_top5="1" * 600,
        candidate_top5="1" * 590 + "0" * 10,
    )
    tolerance = replace(drop_below(1.0, Mode.EXACT), metric="top5_drop")
    told = verdict(replace(observed, task=task), tolerance)
    found = check(told, "top5_drop")
    assert (found.status, found.measurement.value) == (Status.FAIL, pytest.approx(10 / 6))
    assert "10 right to wrong (590, 591," in found.message
    assert [flips.metric for flips in told.flips] == ["top1", "top5"]


# --- flips ---------------------------------------------------------------------------------------


def with_changes(*, lost: tuple[int, ...] = (), gained: tuple[int, ...] = ()) -> Observation:
    """100 samples, the first 80 right by the reference."""
    reference = np.repeat([1, 0], [80, 20])
    candidate = reference.copy()
    candidate[list(lost)] = 0
    candidate[list(gained)] = 1
    return of(reference, candidate)


def accepted(observed: Observation) -> Baseline:
    return build.baseline(observed)


def test_a_baseline_keeps_the_flipped_samples() -> None:
    stored = accepted(with_changes(lost=(3, 17), gained=(90,)))
    assert stored.flips == {"top1": Flipped(lost=(3, 17), gained=(90,))}
    assert parse(render(stored)) == stored


def test_new_flips_are_named() -> None:
    stored = accepted(with_changes(lost=(3, 17, 44), gained=(90,)))
    now = with_changes(lost=(3, 17, 5, 6), gained=(91,))
    told = verdict(now, drop_below(2.0, Mode.EXACT), NEW_FLIPS, baseline=stored)
    (flips,) = told.flips
    assert (flips.new, flips.gone) == ((5, 6), (44,))
    drop = check(told, "top1_drop")
    text = "4 right to wrong (2 as in the baseline, 2 new: 5, 6); 1 wrong to right"
    assert drop.status is Status.FAIL
    assert drop.message.endswith(text)
    new = check(told, "new_flips")
    assert (new.status, new.measurement.value) == (Status.FAIL, 2.0)
    assert text in new.message
    assert any("2 samples right in the baseline's run and wrong now: 5, 6" in n for n in told.notes)


def test_the_same_drop_of_other_samples_is_seen() -> None:
    """What the drop itself cannot see."""
    stored = accepted(with_changes(lost=(1, 2, 3)))
    told = verdict(
        with_changes(lost=(10, 11, 12)), drop_below(5.0, Mode.EXACT), NEW_FLIPS, baseline=stored
    )
    assert check(told, "top1_drop").status is Status.PASS
    assert check(told, "new_flips").status is Status.FAIL


def test_flips_that_are_known_are_no_news() -> None:
    observed = with_changes(lost=(1, 2, 3), gained=(85,))
    told = verdict(observed, NEW_FLIPS, baseline=accepted(observed))
    assert check(told, "new_flips").status is Status.PASS
    assert not [note for note in told.notes if "wrong now" in note]


def test_without_a_baseline_new_flips_have_no_value() -> None:
    told = verdict(with_changes(lost=(1,)), NEW_FLIPS)
    found = check(told, "new_flips")
    assert (found.status, found.message) == (Status.SKIPPED, "the spec says baseline: ignore")
    (flips,) = told.flips
    assert (flips.accepted, flips.new) == (None, ())


def test_a_baseline_from_before_flips_were_kept_must_be_updated() -> None:
    observed = with_changes(lost=(1,))
    told = verdict(observed, NEW_FLIPS, baseline=replace(accepted(observed), flips={}))
    found = check(told, "new_flips")
    assert found.status is Status.FAIL
    assert "holds no list of flips; update it" in found.message


def test_flips_that_were_not_observed_fail_and_say_why() -> None:
    observed = with_changes(lost=(1,))
    told = verdict(replace(observed, task=None), NEW_FLIPS, baseline=accepted(observed))
    found = check(told, "new_flips")
    assert found.status is Status.FAIL
    assert "has no labels" in found.message


def test_flips_of_other_data_are_not_compared() -> None:
    stored = accepted(with_changes(lost=(1, 2)))
    moved = replace(with_changes(lost=(1, 3)), data_digest="f" * 64)
    told = verdict(moved, NEW_FLIPS, baseline=stored)
    assert told.flips[0].accepted is None
    assert told.status is Status.FAIL
    assert check(told, "new_flips").status is Status.SKIPPED


def test_an_update_shows_that_other_samples_flipped() -> None:
    before, after = (accepted(with_changes(lost=lost)) for lost in ((1, 2), (1, 3)))
    facts = {fact.what: (fact.old, fact.new) for fact in diff(before, after).facts}
    old, new = facts["top1 flips"]
    assert old.startswith("2 lost, 0 gained")
    assert old != new
    assert diff(before, before).empty


def test_without_labels_there_are_no_flips() -> None:
    told = verdict(replace(build.observation(), task=None), NEW_FLIPS)
    assert told.flips == ()
    assert check(told, "new_flips").status is Status.SKIPPED
