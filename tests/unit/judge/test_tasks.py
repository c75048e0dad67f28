"""Bounds on tasks other than classification, and on metrics of the user's own."""

from dataclasses import replace

import numpy as np
import pytest

from gate.baseline.make import make_baseline
from gate.core.baseline import BaselineMissing, Provenance
from gate.core.observation import TaskObserved
from gate.core.status import Status, Tier
from gate.core.task import Column, CustomScores, Task, TaskScores
from gate.core.tolerance import Mode, Op
from gate.judge.judge import judge
from gate.judge.measure import measure
from gate.judge.tasks import custom_values, headline, scored
from gate.metrics.catalogue import CATALOGUE, task_metrics
from gate.metrics.certificate import certifies, hopeless, may_certify
from gate.metrics.detection import IOU_THRESHOLDS
from tests.unit.judge import builders as build

D = Tier.DEVICE
ALL_OVERLAPS = 2 ** len(IOU_THRESHOLDS) - 1


def columns(**values):
    return tuple(
        Column(name=name, values=tuple(np.asarray(rows, float).tolist()))
        for name, rows in values.items()
    )


def spoken(count, *, rise, words=20, seed=0):
    """Utterances of which the candidate has on average ``rise`` more errors than the reference."""
    generator = np.random.default_rng(seed)
    before = generator.binomial(words, 0.1, count)
    after = before + generator.poisson(rise, count)
    size = np.full(count, words)
    return TaskScores(
        task="transcription",
        units=count,
        truth=columns(words=size, characters=5 * size),
        reference=columns(word_errors=before, character_errors=before),
        candidate=columns(word_errors=after, character_errors=after),
    )


def seen(scores, **changes):
    return replace(
        build.observation(),
        task=None,
        scores=scores,
        samples_planned=scores.units,
        samples_evaluated=scores.units,
        **changes,
    )


def check_of(observation, metric, value, mode=Mode.AUTO):
    tolerance = build.tolerance(D, metric, Op.LT, value, mode=mode, text=f"< {value:g}")
    verdict = judge(build.case(tolerance), observation, BaselineMissing(path="x"))
    (check,) = [c for c in verdict.checks if c.rule == metric]
    return check


def test_a_rise_is_judged_exactly_or_by_its_interval():
    observation = seen(spoken(300, rise=0.2))  # 1 pp of 20 words
    exact = check_of(observation, "wer_rise", 1.2)
    assert exact.status is Status.PASS
    assert "(exact, on these 300 samples)" in exact.message
    certified = check_of(observation, "wer_rise", 1.5, Mode.CERTIFY)
    assert certified.status is Status.PASS
    assert "certified: below" in certified.message
    assert (
        certified.measurement.low < certified.measurement.value < certified.measurement.high < 1.5
    )
    above = check_of(observation, "wer_rise", 0.5, Mode.CERTIFY)
    assert (above.status, "certified: above" in above.message) == (Status.FAIL, True)


def test_a_failure_names_the_samples_that_lose_most():
    scores = spoken(30, rise=0.0)
    errors = np.array(scores.candidate[0].values)
    errors[[4, 17]] += [3.0, 7.0]
    worse = replace(scores, candidate=columns(word_errors=errors, character_errors=errors))
    check = check_of(seen(worse), "wer_rise", 1.0)
    assert check.status is Status.FAIL
    assert check.message.endswith("most errors more: sample 17 (+7), sample 4 (+3)")


def test_what_nothing_shows_is_inconclusive_and_says_how_many_more():
    few = check_of(seen(spoken(60, rise=0.2)), "wer_rise", 1.2, Mode.CERTIFY)
    assert few.status is Status.INCONCLUSIVE
    assert "more samples needed for 90 % power" in few.message
    fewer = check_of(seen(spoken(12, rise=0.2)), "wer_rise", 5.0, Mode.CERTIFY)
    assert fewer.status is Status.INCONCLUSIVE
    assert "12 clusters, a certificate takes 20" in fewer.message


def test_auto_asks_for_as_many_units_as_top1_takes_samples():
    bound = build.tolerance(D, "wer_rise", Op.LT, 1.0)
    assert not certifies(bound, 4000)
    assert certifies(bound, 5000)
    relative = build.tolerance(D, "mae_rise", Op.LT, 1.0)
    assert may_certify(relative)
    assert not certifies(relative, 10**6)
    assert certifies(replace(relative, mode=Mode.CERTIFY), 5)


@pytest.mark.parametrize(("metric", "least"), [("map_drop", 300), ("wer_rise", 20)])
def test_a_certificate_that_cannot_be_is_said_before_the_run(metric, least):
    bound = build.tolerance(D, metric, Op.LT, 1.0, mode=Mode.CERTIFY)
    (line,) = hopeless([bound], least - 1)
    assert f"takes {least} at least" in line
    assert not hopeless([bound], least)


def by_speaker(scores, speaker):
    return replace(scores, truth=(*scores.truth, *columns(speaker=speaker)))


def test_errors_of_one_speaker_are_not_independent():
    """Every utterance ten times over is as much knowledge as one of each."""
    once = spoken(40, rise=0.3)
    often = TaskScores(
        task=once.task,
        units=400,
        **{
            side: tuple(replace(c, values=c.values * 10) for c in getattr(once, side))
            for side in ("truth", "reference", "candidate")
        },
    )
    found = scored(by_speaker(often, np.tile(np.arange(40), 10))).intervals["wer_rise"]
    alone = scored(once).intervals["wer_rise"]

    assert found.units == 40
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    # As if each were known by itself, it would seem more than three times as sure.
    assert scored(often).intervals["wer_rise"].standard_error < found.standard_error / 3
    assert scored(often).values == pytest.approx(scored(once).values)
    # What a few hundred utterances would certify, ten speakers do not.
    few = check_of(
        seen(by_speaker(often, np.tile(np.arange(10), 40))), "wer_rise", 50.0, Mode.CERTIFY
    )
    assert few.status is Status.INCONCLUSIVE
    assert "10 clusters, a certificate takes 20" in few.message


def test_one_speaker_is_no_certificate():
    found = seen(by_speaker(spoken(100, rise=0.0), np.zeros(100)))
    check = check_of(found, "wer_rise", 50.0, Mode.CERTIFY)

    assert check.status is Status.INCONCLUSIVE
    assert "1 cluster, a certificate takes 20" in check.message
    assert check_of(found, "wer_rise", 50.0, Mode.EXACT).status is Status.PASS


def test_a_certificate_is_not_given_where_there_is_no_interval():
    """The reference errs on one sample only: its error, and the rise, have no value on most resamples."""
    error = np.zeros(400)
    error[0] = 1.0
    sides = columns(absolute=error, squared=error**2)
    scores = TaskScores(
        task="regression",
        units=400,
        truth=columns(elements=np.ones(400)),
        reference=sides,
        candidate=sides,
    )
    assert "mae_rise" not in scored(scores).intervals
    check = check_of(seen(scores), "mae_rise", 5.0, Mode.CERTIFY)

    assert check.status is Status.INCONCLUSIVE
    assert "no interval can be had" in check.message
    assert check_of(seen(scores), "mae_rise", 5.0).status is Status.PASS


def detected(images, missed, *, seed=0):
    """One true box an image; the reference finds all, the candidate misses some."""
    generator = np.random.default_rng(seed)
    image, score = np.arange(images), generator.random(images)
    hits = np.full(images, ALL_OVERLAPS)
    fewer = hits.copy()
    fewer[:missed] = 0
    facts = {"image": image, "class": np.zeros(images), "score": score}
    return TaskScores(
        task="detection",
        units=images,
        truth=columns(image=image, **{"class": np.zeros(images)}),
        reference=columns(**facts, matched=hits),
        candidate=columns(**facts, matched=fewer),
    )


def test_map_has_an_interval_from_three_hundred_images_on():
    few, many = scored(detected(299, 20)), scored(detected(300, 20))
    assert few.reference["map"] == many.reference["map"] == pytest.approx(100.0)
    assert few.intervals["map_drop"].refused == "299 images, a certificate takes 300"
    found = many.intervals["map_drop"]
    assert not found.refused
    assert found.low < many.values["map_drop"] < found.high
    check = check_of(seen(detected(299, 20)), "map_drop", 50.0, Mode.CERTIFY)
    assert check.status is Status.INCONCLUSIVE


def test_facts_that_do_not_fit_together_have_no_value():
    broken = replace(detected(5, 1), candidate=columns(image=[0.0]))
    assert "do not fit together" in scored(broken).why_none
    check = check_of(seen(broken), "map_drop", 5.0)
    assert (check.status, "not measured" in check.message) == (Status.FAIL, True)


def test_samples_that_are_missing_leave_no_value():
    short = replace(seen(spoken(50, rise=0.1)), samples_evaluated=49)
    check = check_of(short, "wer", 90.0)
    assert check.status is Status.FAIL
    assert "49 of 50 planned samples" in check.message


def test_fewer_scores_than_samples_are_no_value():
    observation = replace(seen(spoken(50, rise=0.1)), samples_planned=60, samples_evaluated=60)
    check = check_of(observation, "wer", 90.0)
    assert (check.status, "50 of 60 planned samples" in check.message) == (Status.FAIL, True)


def test_a_task_without_facts_says_so():
    check = check_of(build.observation(), "map_drop", 5.0)
    assert "no labels, or the task has no such metric" in check.message


def test_every_task_has_metrics_and_a_headline():
    own = [task for task in Task if task_metrics(task)]
    assert set(own) == set(Task) - {Task.OTHER}
    assert all(headline(task) for task in own if "classification" not in task)
    assert {info.tier for info in CATALOGUE if info.tasks} == {D}


# --- classes ----------------------------------------------------------------------------------------


def classified(labels, before, after):
    n = len(labels)
    task = TaskObserved(
        reference_top1="".join(map(str, before)),
        candidate_top1="".join(map(str, after)),
        labels=tuple(labels),
    )
    return replace(build.observation(), task=task, samples_planned=n, samples_evaluated=n)


def test_the_class_that_falls_most_is_found_among_those_seen_often_enough():
    labels = [0] * 20 + [1] * 10 + [2] * 5
    before = [1] * 35
    after = [1] * 20 + [0] * 3 + [1] * 7 + [0] * 5
    (value,) = measure(classified(labels, before, after)).of(D, "worst_class_drop")
    assert (value.value, value.detail) == (pytest.approx(30.0), "class 1, 10 samples")


def test_each_class_that_is_seen_often_enough_has_its_accuracy():
    labels = [0] * 20 + [7] * 10 + [2] * 5
    before = [1] * 19 + [0] + [1] * 8 + [0, 0] + [1] * 5
    after = [1] * 20 + [1] * 5 + [0] * 5 + [0] * 5
    measured = measure(classified(labels, before, after))
    found = [
        [(m.subject, m.value, m.unit, m.detail) for m in measured.of(D, metric)]
        for metric in ("class_top1", "class_top1_drop")
    ]
    assert found == [
        [("0", 100.0, "%", "20 samples of the class"), ("7", 50.0, "%", "10 samples of the class")],
        [
            ("0", -5.0, "pp", "20 samples of the class"),
            ("7", 30.0, "pp", "10 samples of the class"),
        ],
    ]
    # A whole made of its parts: weighted by their samples they give the accuracy of all.
    samples = {"0": 20, "7": 10}  # and 5 of a class that is too small, all wrong
    right = sum(value * samples[label] / 100 for label, value, *_ in found[0])
    (top1,) = measured.of(D, "top1")
    assert top1.value == pytest.approx(100 * right / 35)


def test_a_class_is_bounded_by_its_label():
    labels = [0] * 20 + [7] * 10
    seen = classified(labels, [1] * 30, [1] * 20 + [0] * 3 + [1] * 7)
    bound = build.tolerance(D, "class_top1_drop", Op.LT, 10.0)
    for subjects, outcomes in (
        (None, [("0", "PASS"), ("7", "FAIL")]),
        ("0", [("0", "PASS")]),
        ("7", [("7", "FAIL")]),
        ("3", [("3", "FAIL")]),
    ):
        case = build.case(replace(bound, subjects=subjects), baseline_policy="ignore")
        checks = judge(case, seen, BaselineMissing(path="x")).checks
        found = [(c.subject, c.status.value) for c in checks if c.rule == "class_top1_drop"]
        assert found == outcomes
    message = next(c.message for c in checks if c.rule == "class_top1_drop")
    assert "'3' names no subject" in message


@pytest.mark.parametrize("metric", ["worst_class_drop", "class_top1", "class_top1_drop"])
def test_older_results_have_no_classes(metric):
    (value,) = measure(build.observation()).of(D, metric)
    assert value.value is None
    assert "an old one" in value.why_none


# --- metrics of the user's own ----------------------------------------------------------------------


LONG = replace(build.observation(), samples_planned=400, samples_evaluated=400)


def own(direction="higher", aggregate="mean", count=400, shift=0.5, **changes):
    generator = np.random.default_rng(4)
    before = generator.normal(30.0, 2.0, count)
    after = before - shift + generator.normal(0.0, 1.0, count)
    fields = {
        "name": "psnr",
        "unit": "dB",
        "direction": direction,
        "aggregate": aggregate,
        "reference": tuple(before.tolist()),
        "candidate": tuple(after.tolist()),
    }
    return CustomScores(**{**fields, **changes})


def test_a_mean_and_its_difference():
    scores = own()
    found = custom_values(scores, 400)
    drop = np.mean(scores.reference) - np.mean(scores.candidate)
    assert found.reference["custom.psnr"] == pytest.approx(np.mean(scores.reference))
    assert found.values["custom.psnr_drop"] == pytest.approx(drop)
    interval = found.intervals["custom.psnr_drop"]
    assert interval.standard_error == pytest.approx(1.0 / 20.0, rel=0.1)
    lower = custom_values(own(direction="lower"), 400)
    assert lower.values["custom.psnr_drop"] == pytest.approx(-drop)


def test_a_ratio_of_sums():
    weights = tuple(np.arange(1.0, 401.0).tolist())
    scores = own(aggregate="ratio", reference_weights=weights, candidate_weights=weights)
    expected = sum(scores.candidate) / sum(weights)
    assert custom_values(scores, 400).values["custom.psnr"] == pytest.approx(expected)


def test_bounds_on_it_are_judged_like_others():
    observation = replace(LONG, custom=(own(),))
    assert check_of(observation, "custom.psnr_drop", 1.0).status is Status.PASS
    certified = check_of(observation, "custom.psnr_drop", 1.0, Mode.CERTIFY)
    assert (certified.status, "certified" in certified.message) == (Status.PASS, True)
    assert check_of(observation, "custom.psnr_drop", 0.1, Mode.CERTIFY).status is Status.FAIL


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"candidate": (), "why_none": "it raised ValueError"}, "it raised ValueError"),
        ({"candidate": (1.0,)}, "a number for every sample"),
        ({"reference": (), "candidate": ()}, "a number for every sample"),
    ],
)
def test_what_it_did_not_give_is_not_measured(changes, why):
    observation = replace(LONG, custom=(own(**changes),))
    check = check_of(observation, "custom.psnr_drop", 1.0)
    assert (check.status, why in check.message) == (Status.FAIL, True)


def test_a_number_that_is_not_finite_has_no_value():
    values = list(own().candidate)
    values[3] = float("nan")
    observation = replace(LONG, custom=(own(candidate=tuple(values)),))
    check = check_of(observation, "custom.psnr_drop", 100.0)
    assert check.status is Status.FAIL
    assert "the value is nan" in check.message


def test_a_baseline_keeps_both_models_values():
    observation = replace(LONG, custom=(own(),))
    provenance = Provenance(reason="r", commit="c", author="a", date="d", gate_version="0")
    made = make_baseline(build.case(), observation, provenance)
    kept = {(v.metric, v.subject): v.unit for v in made.values if v.metric.startswith("custom")}
    assert kept == {
        ("custom.psnr", "case"): "dB",
        ("custom.psnr_drop", "case"): "dB",
        ("custom.psnr", "reference"): "dB",
    }


@pytest.mark.parametrize(("side", "worse"), [("candidate", 900.0), ("reference", 800.0)])
def test_a_perplexity_beyond_every_float_has_no_value(side: str, worse: float) -> None:
    likely = {"reference": np.full(400, 3.0), "candidate": np.full(400, 3.1)}
    likely[side] = np.full(400, worse)
    found = TaskScores(
        task="language-modeling",
        units=400,
        truth=columns(tokens=np.ones(400)),
        reference=columns(nll=likely["reference"]),
        candidate=columns(nll=likely["candidate"]),
    )
    assert f"perplexity of the {side} is beyond" in scored(found).why_none
    for metric in ("perplexity", "perplexity_rise"):
        check = check_of(seen(found), metric, 1e9, Mode.EXACT)
        assert check.status is Status.FAIL
        assert "beyond" in check.message
