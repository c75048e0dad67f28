"""Average precision over weighted images, against pycocotools' own accumulation."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gate.metrics.detection import IOU_THRESHOLDS, AveragePrecision

CLASSES = 4


def boxes_of(generator, count):
    low = generator.uniform(0.0, 60.0, (count, 2))
    return np.concatenate([low, generator.uniform(10.0, 40.0, (count, 2))], axis=1)


def scene(seed, images):
    """True boxes, and detections near some of them: (image, class, box, score)."""
    generator = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(images):
        for box in boxes_of(generator, generator.integers(0, 6)):
            kind = int(generator.integers(0, CLASSES))
            truth.append((image, kind, box, 1.0))
            if generator.random() < 0.8:
                near = box + generator.normal(0.0, 3.0, 4)
                found.append((image, kind, near, round(float(generator.random()), 2)))
        found += [
            (image, int(generator.integers(0, CLASSES)), box, float(generator.random()))
            for box in boxes_of(generator, generator.integers(0, 3))
        ]
    return truth, found


def coco(boxes, images):
    made = COCO()
    made.dataset = {
        "images": [{"id": image} for image in range(images)],
        "categories": [{"id": kind} for kind in range(CLASSES)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": kind,
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]),
                "iscrowd": 0,
                "score": score,
            }
            for number, (image, kind, box, score) in enumerate(boxes, start=1)
        ],
    }
    made.createIndex()
    return made


def evaluated(truth, found, images):
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth, images), coco(found, images), "bbox")
        evaluation.params.maxDets = [100]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def kept(evaluation):
    """Rows of the matches, as the task keeps them."""
    bits = 1 << np.arange(len(IOU_THRESHOLDS))
    rows = [
        (one["image_id"], one["category_id"], score, flags)
        for one in evaluation.evalImgs
        if one is not None
        for score, flags in zip(one["dtScores"], (one["dtMatches"] > 0).T @ bits, strict=True)
    ]
    return tuple(zip(*rows, strict=True))


def theirs(evaluation):
    """mAP at each overlap, of classes that occur."""
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # overlap, recall, class
    occurs = (precision > -1).all(axis=(0, 1))
    return precision[:, :, occurs].mean(axis=(1, 2))


def ours(truth, evaluation, images):
    image, kind, score, matched = kept(evaluation)
    return AveragePrecision(
        [row[0] for row in truth],
        [row[1] for row in truth],
        image=image,
        classes=kind,
        score=score,
        matched=matched,
        images=images,
    )


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_accumulation_of_pycocotools(seed):
    truth, found = scene(seed, 25)
    evaluation = evaluated(truth, found, 25)
    np.testing.assert_allclose(
        ours(truth, evaluation, 25)(), theirs(evaluation), rtol=0.0, atol=1e-12
    )


def test_an_image_that_counts_twice_is_an_image_that_is_there_twice():
    truth, found = scene(11, 12)
    weights = np.random.default_rng(3).integers(0, 3, 12).astype(float)
    copies = [image for image in range(12) for _ in range(int(weights[image]))]
    repeated = [
        [(copy, *row[1:]) for copy, image in enumerate(copies) for row in rows if row[0] == image]
        for rows in (truth, found)
    ]
    weighted = ours(truth, evaluated(truth, found, 12), 12)(weights)
    drawn = evaluated(*repeated, len(copies))
    # Detections of one score in copies of one image come in another order there.
    np.testing.assert_allclose(weighted, theirs(drawn), atol=5e-3)


def test_no_true_box_has_no_value():
    one = AveragePrecision([], [], image=[0], classes=[1], score=[0.5], matched=[0], images=1)
    assert np.isnan(one()).all()


def test_a_class_that_is_never_found_counts_as_nothing():
    all_bits = 2 ** len(IOU_THRESHOLDS) - 1
    one = AveragePrecision(
        [0, 0], [0, 1], image=[0], classes=[0], score=[0.9], matched=[all_bits], images=1
    )
    np.testing.assert_allclose(one(), 0.5)
