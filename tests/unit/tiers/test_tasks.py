"""Scorers of the tasks: from outputs and truths to values, against the libraries of the field."""

import contextlib
import io

import jiwer
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import (
    jaccard_score,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from gate.core.convert import from_plain, to_plain
from gate.core.spec import ModelSpec
from gate.core.task import Task, TaskScores
from gate.data.base import Batch, DataError
from gate.judge.tasks import scored
from gate.tiers.task import OutputError
from gate.tiers.task_detection import DetectionScorer, corners, suppress
from gate.tiers.task_images import SegmentationScorer
from gate.tiers.task_scores import RegressionScorer
from gate.tiers.task_sequence import TranscriptionScorer
from gate.tiers.task_table import decoding, task_scorer


def scores(task, x, y, truths, *, size=7, inputs=None, **options):
    """Facts of reference ``x`` and candidate ``y``, in batches of ``size``."""
    model = ModelSpec(id="m", task=task, source="onnx", options={}, inputs={}, decoding=options)
    scorer = task_scorer(model, {})
    count = len(truths)
    integers = isinstance(truths, np.ndarray) and truths.ndim == 1 and truths.dtype.kind == "i"
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        batch = Batch(
            inputs={"x": (x if inputs is None else inputs)[part]},
            labels=truths[part] if integers else None,
            indices=tuple(range(part.start, part.stop)),
            targets=None if integers else tuple(truths[part]),
        )
        outputs = [v if isinstance(v, dict) else {"output": v} for v in (x, y)]
        scorer.add(batch, *({k: a[part] for k, a in side.items()} for side in outputs))
    found = scorer.result()
    assert from_plain(TaskScores, to_plain(found)) == found
    return found


def values(*arguments, **options):
    found = scored(scores(*arguments, **options))
    assert not found.why_none
    return found


def same_in_any_batch(*arguments, **options):
    """Facts are of the samples: how they were cut into batches leaves no trace."""
    whole = scores(*arguments, size=1000, **options)
    assert whole == scores(*arguments, size=3, **options)
    return scored(whole)


# --- detection --------------------------------------------------------------------------------------


def detector(seed, images=12, classes=3):
    """Raw columns cx cy w h objectness classes near true boxes, and the truth."""
    generator = np.random.default_rng(seed)
    rows, truths = np.zeros((images, 40, 5 + classes), np.float32), []
    for image in range(images):
        count = int(generator.integers(1, 5))
        boxes = np.concatenate(
            [generator.uniform(0.2, 0.8, (count, 2)), generator.uniform(0.1, 0.3, (count, 2))], 1
        )
        kinds = generator.integers(0, classes, count)
        truths.append(np.concatenate([kinds[:, None], boxes], axis=1))
        for place in range(40):
            own = place % count
            rows[image, place, :4] = boxes[own] + generator.normal(0.0, 0.02, 4)
            rows[image, place, 4] = generator.random()
            rows[image, place, 5 + kinds[own]] = 1.0
    return rows, truths


def by_pycocotools(side, truths, layout):
    """map_50 and map of one side, all images evaluated at once by the library's own summary."""
    scorer = DetectionScorer(decoding(Task.DETECTION, layout))
    batch = Batch(inputs={"x": side}, labels=None, indices=tuple(range(len(side))))
    found = scorer._detections({"o": side}, batch)
    true = [
        (image, row[0], corners(row[None, 1:])[0], 1.0)
        for image, own in enumerate(truths)
        for row in own
    ]
    answers = [
        (image, kind, box, score)
        for image, own in enumerate(found)
        for box, score, kind in zip(own.boxes, own.scores, own.classes, strict=True)
    ]
    both = []
    with contextlib.redirect_stdout(io.StringIO()):
        for boxes in (true, answers):
            both.append(COCO())
            both[-1].dataset = {
                "images": [{"id": image} for image in range(len(truths))],
                "categories": [{"id": kind} for kind in range(3)],
                "annotations": [
                    {
                        "id": number,
                        "image_id": image,
                        "category_id": int(kind),
                        # In pixels of a wide image, where the gate has shares: overlaps are the same.
                        "bbox": [b[0] * 640, b[1] * 320, (b[2] - b[0]) * 640, (b[3] - b[1]) * 320],
                        "area": (b[2] - b[0]) * (b[3] - b[1]) * 640 * 320,
                        "iscrowd": 0,
                        "score": score,
                    }
                    for number, (image, kind, b, score) in enumerate(boxes, start=1)
                ],
            }
            both[-1].createIndex()
        evaluation = COCOeval(*both, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * evaluation.stats[1], 100 * evaluation.stats[0]


def test_detection_agrees_with_the_summary_of_pycocotools():
    x, truths = detector(0)
    y, _ = detector(0)
    y[..., :2] += np.random.default_rng(1).normal(0.0, 0.05, y[..., :2].shape)
    layout = {"layout": "cxcywh-objectness-classes"}
    found = values(Task.DETECTION, x, y, truths, **layout)
    for side, given in ((x, found.reference), (y, found.values)):
        theirs = by_pycocotools(side, truths, layout)
        assert (given["map_50"], given["map"]) == pytest.approx(theirs, abs=1e-6)
    assert found.values["map_drop"] == found.reference["map"] - found.values["map"] > 0.0
    assert "a certificate takes 300" in found.intervals["map_drop"].refused


def test_layouts_of_one_detector_give_one_answer():
    x, truths = detector(3)
    plain = values(Task.DETECTION, x, x, truths, layout="cxcywh-objectness-classes")
    eight = np.concatenate([x[..., :4], x[..., 4:5] * x[..., 5:]], axis=2)
    turned = np.ascontiguousarray(np.swapaxes(eight, 1, 2))
    transposed = values(
        Task.DETECTION, turned, turned, truths, layout="cxcywh-classes", transposed=True
    )
    assert transposed.values == plain.values
    image = np.zeros((len(x), 3, 20, 40), np.float32)
    pixels = x.copy()
    pixels[..., [0, 2]] *= 40
    pixels[..., [1, 3]] *= 20
    in_pixels = values(
        Task.DETECTION,
        pixels,
        pixels,
        truths,
        inputs=image,
        layout="cxcywh-objectness-classes",
        coordinates="pixels",
    )
    assert in_pixels.values["map_50"] == pytest.approx(plain.values["map_50"])


def test_detections_that_are_ready_are_taken_as_they_are():
    truth = [np.array([[1.0, 0.5, 0.5, 0.2, 0.4]])]
    outputs = {
        "where": np.array([[[0.3, 0.4, 0.7, 0.6], [0.0, 0.0, 0.1, 0.1]]]),  # y1 x1 y2 x2
        "what": np.array([[2.0, 1.0]]),
        "sure": np.array([[0.9, 0.1]]),
    }
    found = scores(
        Task.DETECTION,
        outputs,
        outputs,
        truth,
        inputs=np.zeros((1, 3, 4, 4)),
        layout="boxes-scores-classes",
        outputs={"boxes": "where", "scores": "sure", "classes": "what"},
        corners="yxyx",
        first_class=1,
    )
    assert scored(found).values["map"] == pytest.approx(100.0)


@pytest.mark.parametrize(("labels", "expected"), [("several", [0, 1, 2]), ("best", [0, 2])])
def test_a_box_may_be_of_several_classes_or_of_its_best(labels, expected):
    rows = np.array([[[0.3, 0.3, 0.2, 0.2, 0.9, 0.8, 0.0], [0.7, 0.7, 0.2, 0.2, 0.0, 0.1, 0.6]]])
    options = decoding(
        Task.DETECTION, {"layout": "cxcywh-classes", "labels": labels, "confidence": 0.2}
    )
    batch = Batch(inputs={"x": rows}, labels=None, indices=(0,))
    (found,) = DetectionScorer(options)._detections({"y": rows}, batch)
    assert sorted(found.classes.tolist()) == expected
    assert found.scores.tolist() == sorted(found.scores, reverse=True)


def test_no_more_boxes_are_kept_than_asked_for():
    x, truths = detector(5)
    layout = {"layout": "cxcywh-objectness-classes", "max_detections": 2}
    found = scores(Task.DETECTION, x, x, truths, **layout)
    images = np.array(found.reference[0].values)
    assert np.bincount(images.astype(int)).max() == 2


def test_suppression_is_within_a_class():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 0.95], [2, 2, 3, 3]], float)
    assert suppress(boxes, np.array([0, 0, 1, 0]), 0.5).tolist() == [0, 2, 3]
    assert suppress(boxes, np.array([0, 0, 1, 0]), 0.95).tolist() == [0, 1, 2, 3]


def test_a_candidate_that_finds_nothing_scores_nothing():
    x, truths = detector(4)
    found = values(Task.DETECTION, x, np.zeros_like(x), truths, layout="cxcywh-objectness-classes")
    assert found.values["map_50"] == 0.0
    assert found.values["map_50_drop"] == found.reference["map_50"] > 50.0


# --- segmentation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_segmentation_agrees_with_scikit_learn(layout):
    generator = np.random.default_rng(5)
    x = generator.normal(size=(9, 4, 6, 5)).astype(np.float32)
    truths = [generator.integers(0, 4, (6, 5)) for _ in range(9)]
    truths[0][:3] = 255
    counted = np.stack(truths) != 255
    sides = (x, np.roll(x, 1, axis=0))
    given = [np.moveaxis(s, 1, 3) if layout == "nhwc" else s for s in sides]
    found = same_in_any_batch(Task.SEGMENTATION, *given, truths, layout=layout)
    for side, ours in zip(sides, (found.reference, found.values), strict=True):
        answer, truth = side.argmax(1)[counted], np.stack(truths)[counted]
        theirs = jaccard_score(truth, answer, average="macro")
        assert ours["miou"] == pytest.approx(100 * theirs)
        accuracy = (side.argmax(1) == np.stack(truths))[counted].mean()
        assert ours["pixel_accuracy"] == pytest.approx(100 * accuracy)
    assert found.intervals["miou_drop"].standard_error > 0.0


def test_masks_must_lie_where_the_answer_lies():
    x = np.zeros((1, 2, 4, 4), np.float32)
    with pytest.raises(DataError, match="resize images to"):
        scores(Task.SEGMENTATION, x, x, [np.zeros((8, 8), int)])
    resized = SegmentationScorer(decoding(Task.SEGMENTATION, {}), {"resize": [4, 4]})
    mask = np.kron(np.eye(4, dtype=int), np.ones((2, 2), int))
    assert resized._fitted(mask, (4, 4)).tolist() == np.eye(4, dtype=int).tolist()
    with pytest.raises(DataError, match="classes from 0 to 7, the model 2"):
        scores(Task.SEGMENTATION, x, x, [np.full((4, 4), 7) * np.eye(4, dtype=int)])


# --- sequences --------------------------------------------------------------------------------------

ALPHABET = "_abcdefghijklmnopqrstuvwxyz "


def spoken(texts, steps=60):
    """Scores whose greedy CTC answer is each text."""
    rows = np.zeros((len(texts), steps, len(ALPHABET)), np.float32)
    for row, text in zip(rows, texts, strict=True):
        symbols = [s for c in text for s in (ALPHABET.index(c), ALPHABET.index(c), 0)]
        row[np.arange(len(symbols)), symbols] = 1.0
        row[len(symbols) :, 0] = 1.0
    return rows


TRUE = ["the cat sat", "a dog", "hello there", "no one is here"]
HEARD = ["the cat sat", "a fog", "hello", "no won is here now"]


def test_transcription_agrees_with_jiwer():
    found = same_in_any_batch(
        Task.TRANSCRIPTION, spoken(TRUE), spoken(HEARD, 70), TRUE, alphabet=ALPHABET
    )
    assert found.reference == {"wer": 0.0, "cer": 0.0}
    assert found.values["wer"] == pytest.approx(100 * jiwer.wer(TRUE, HEARD))
    assert found.values["cer"] == pytest.approx(100 * jiwer.cer(TRUE, HEARD))
    assert "4 clusters, a certificate takes 20" in found.intervals["wer_rise"].refused


def heard(speakers, *, size):
    scorer = TranscriptionScorer(decoding(Task.TRANSCRIPTION, {"alphabet": ALPHABET}))
    for start in range(0, len(TRUE), size):
        part = slice(start, min(start + size, len(TRUE)))
        batch = Batch(
            inputs={"x": np.zeros((part.stop - part.start, 1))},
            labels=None,
            indices=tuple(range(part.start, part.stop)),
            targets=tuple(TRUE[part]),
            speakers=speakers[start // size],
        )
        outputs = {"output": spoken(TRUE[part])}
        scorer.add(batch, outputs, outputs)
    return scorer.result()


def test_speakers_are_numbered_as_they_come_whatever_the_batches():
    whole = heard([("ann", "7", "ann", "7")], size=4)
    assert {c.name: c.values for c in whole.truth}["speaker"] == (0.0, 1.0, 0.0, 1.0)
    assert heard([("ann", "7"), ("ann", "7")], size=2) == whole
    assert scored(whole).intervals["wer_rise"].units == 2
    for mixed in ([None, ("ann", "7")], [("ann", "7"), None]):
        with pytest.raises(DataError, match="some samples have speakers and some have none"):
            heard(mixed, size=2)


def test_symbols_with_an_end_and_labels_of_symbols():
    x = np.array([[1, 2, 0, 3], [2, 2, 2, 0]])
    labels = [np.array([1, 2, -1, -1]), np.array([2, 2, 2, -1])]
    found = values(
        Task.TRANSCRIPTION,
        x,
        x[:, [1, 0, 2, 3]],
        labels,
        alphabet=["<end>", "A", "b", "c"],
        decoder="greedy",
        end=0,
        lowercase=True,
    )
    assert found.reference["cer"] == 0.0
    assert found.values["cer"] == pytest.approx(100 * 2 / 5)


def test_perplexity_is_that_of_the_cross_entropy():
    generator = np.random.default_rng(6)
    x, y = generator.normal(size=(2, 8, 5, 11)).astype(np.float32)
    truths = list(generator.integers(0, 11, (8, 5)))
    truths[2][1:] = -100
    found = same_in_any_batch(Task.LANGUAGE_MODELING, x, y, truths)
    for side, ours in ((x, found.reference), (y, found.values)):
        loss = torch.nn.functional.cross_entropy(
            torch.tensor(side).reshape(-1, 11).double(), torch.tensor(np.stack(truths)).reshape(-1)
        )
        assert ours["perplexity"] == pytest.approx(float(loss.exp()), rel=1e-9)
    rise = 100 * (found.values["perplexity"] / found.reference["perplexity"] - 1)
    assert found.values["perplexity_rise"] == pytest.approx(rise)


# --- numbers and vectors ----------------------------------------------------------------------------


def test_verification_takes_every_pair_or_a_draw():
    generator = np.random.default_rng(7)
    identities = np.repeat(np.arange(12), 4)
    x = (generator.normal(size=(12, 16))[identities] + generator.normal(size=(48, 16))).astype("f4")
    y = x + generator.normal(0.0, 1.5, x.shape).astype("f4")
    found = scores(Task.VERIFICATION, x, y, identities)
    assert len(found.truth[0].values) == 48 * 47 // 2
    assert found.units == 12
    assert scored(found).values["eer_rise"] > 0.0
    fewer = scores(Task.VERIFICATION, x, y, identities, trials=200)
    same = np.array(fewer.truth[2].values)
    assert (len(same), same.sum()) == (200, 72)
    assert fewer == scores(Task.VERIFICATION, x, y, identities, trials=200)
    assert scored(fewer).reference["eer"] == pytest.approx(scored(found).reference["eer"], abs=12)


def test_verification_needs_genuine_and_impostor_trials():
    with pytest.raises(OutputError, match="two samples of one identity"):
        scores(Task.VERIFICATION, np.eye(4), np.eye(4), np.arange(4))


def test_anomalies_by_score_and_by_reconstruction():
    generator = np.random.default_rng(8)
    labels = (generator.random(60) < 0.4).astype(int)
    x = (labels + generator.normal(size=60))[:, None]
    found = same_in_any_batch(Task.ANOMALY_DETECTION, x, -x, labels)
    assert found.reference["roc_auc"] == pytest.approx(100 * roc_auc_score(labels, x[:, 0]))
    assert found.values["roc_auc"] == pytest.approx(100 - found.reference["roc_auc"])
    normal = values(Task.ANOMALY_DETECTION, x, -x, labels, higher="normal")
    assert normal.values["roc_auc"] == pytest.approx(found.reference["roc_auc"])
    given = generator.normal(size=(60, 5))
    seen = given + labels[:, None]
    perfect = values(
        Task.ANOMALY_DETECTION, seen, given, labels, inputs=given, score="reconstruction"
    )
    assert perfect.reference["roc_auc"] == 100.0
    assert perfect.values["roc_auc"] == 50.0


def test_regression_agrees_with_scikit_learn():
    generator = np.random.default_rng(9)
    targets = generator.normal(size=(30, 2))
    x, y = (targets + generator.normal(0.0, s, targets.shape) for s in (0.1, 0.2))
    found = same_in_any_batch(Task.REGRESSION, x, y, list(targets))
    for side, ours in ((x, found.reference), (y, found.values)):
        assert ours["mae"] == pytest.approx(mean_absolute_error(targets, side))
        pooled = root_mean_squared_error(targets.ravel(), side.ravel())
        assert ours["rmse"] == pytest.approx(pooled)
    assert found.values["mae_rise"] == pytest.approx(
        100 * (found.values["mae"] / found.reference["mae"] - 1)
    )
    assert found.intervals["rmse_rise"].standard_error > 0.0


# --- what does not fit ------------------------------------------------------------------------------


def test_a_candidate_that_cannot_be_scored_says_why_and_ends_nothing():
    x = np.zeros((5, 2), np.float32)
    found = scores(Task.REGRESSION, x, x[:, :1], list(x))
    assert found.candidate == ()
    assert "expected 2 numbers a sample, found the outputs output float32[5, 1]" in found.why_none
    assert scored(found).why_none == found.why_none


@pytest.mark.parametrize(
    ("task", "x", "truths", "error", "message"),
    [
        (Task.REGRESSION, np.zeros((3, 2)), [np.zeros(3)] * 3, OutputError, "expected 3 numbers"),
        (Task.VERIFICATION, np.eye(3), [np.zeros(2)] * 3, DataError, "takes identities"),
        (Task.ANOMALY_DETECTION, np.zeros(3), np.array([0, 1, 2]), DataError, "are 0 and 1"),
        (Task.SEGMENTATION, np.zeros((3, 2, 2, 2)), np.zeros(3, int), DataError, "takes masks"),
        (Task.LANGUAGE_MODELING, np.zeros((1, 4, 9)), [np.zeros(4)], DataError, "whole numbers"),
        (Task.TRANSCRIPTION, np.zeros((1, 4, 9)), [""], DataError, "empty text"),
        (Task.DETECTION, np.zeros((1, 4, 9)), [np.zeros((2, 4))], DataError, "columns class"),
    ],
)
def test_data_and_references_that_do_not_fit_end_the_run(task, x, truths, error, message):
    options = {
        Task.TRANSCRIPTION: {"alphabet": "abcdefghi"},
        Task.DETECTION: {"layout": "cxcywh-classes"},
    }.get(task, {})
    with pytest.raises(error, match=message):
        scores(task, x, x, truths, **options)


@pytest.mark.parametrize("first", [True, False])
def test_labels_of_some_samples_alone_are_refused(first):
    scorer = RegressionScorer(decoding(Task.REGRESSION, {}))
    outputs = {"output": np.zeros((2, 1), np.float32)}

    def add(start, *, labelled):
        targets = (np.zeros(1), np.zeros(1)) if labelled else None
        indices = (start, start + 1)
        scorer.add(
            Batch(inputs={}, labels=None, indices=indices, targets=targets), outputs, outputs
        )

    add(0, labelled=first)
    with pytest.raises(
        DataError, match=f"samples 2 to 3 have {'no labels' if first else 'labels'}"
    ):
        add(2, labelled=not first)
