"""Detection: outputs to boxes as the spec declares, and which true box each of them matches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.core.task import Task
from gate.core.tensors import Array, TensorMap
from gate.data.base import Batch, DataError, Truth
from gate.metrics.detection import IOU_THRESHOLDS
from gate.tiers.task import Facts, Labelled, TaskScorer, UnscorableError, arrays

_BOX_COLUMNS = 5
_MOST_SUPPRESSED = 30000
"""Boxes of an image that suppression looks at, the best first, as YOLOv5 does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Boxes that a model found in one image, the best first."""

    boxes: Array
    """Corners x1, y1, x2, y2 as shares of the image, (found, 4)."""
    scores: Array
    classes: Array


class DetectionScorer(TaskScorer):
    """Matches boxes of one class by the overlap, as COCO does (pycocotools)."""

    task = Task.DETECTION
    truth_columns = ("image", "class")
    columns = ("image", "class", "score", "matched")

    def prepare(self, given: Labelled) -> Facts:
        """Image and class of every true box."""
        boxes = _true_boxes(given.truths)
        return {
            "image": [self.units + i for i, own in enumerate(boxes) for _ in own],
            "class": [float(row[0]) for own in boxes for row in own],
        }

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Every detection with its matches, bit i for ``IOU_THRESHOLDS[i]``."""
        found = self._detections(outputs, given.batch)
        rows = _match(found, _true_boxes(given.truths), int(self.options["max_detections"]))
        return {
            "image": [self.units + row[0] for row in rows],
            "class": [row[1] for row in rows],
            "score": [row[2] for row in rows],
            "matched": [row[3] for row in rows],
        }

    def _detections(self, outputs: TensorMap, batch: Batch) -> list[Detections]:
        options = self.options
        scale = np.ones(4)
        if options["coordinates"] == "pixels":
            height, width = _input_size(batch)
            scale = np.array([width, height, width, height], dtype=np.float64)
        if options["layout"] == "boxes-scores-classes":
            return self._given(outputs, scale)
        rows = self.output(outputs, lambda v: v.ndim == 3, "boxes of shape (batch, boxes, columns)")
        if options["transposed"]:
            rows = np.swapaxes(rows, 1, 2)
        objectness = options["layout"] == "cxcywh-objectness-classes"
        if rows.shape[2] <= 4 + objectness:
            raise UnscorableError(f"{rows.shape[2]} columns a box leave none for classes")
        return [self._decoded(image, scale, objectness=objectness) for image in rows]

    def _decoded(self, rows: Array, scale: Array, *, objectness: bool) -> Detections:
        confidence = float(self.options["confidence"])
        rows = rows.astype(np.float64)
        scores = rows[:, 4 + objectness :]
        if objectness:
            likely = rows[:, 4] > confidence
            rows, scores = rows[likely], scores[likely] * rows[likely, 4:5]
        if self.options["labels"] == "best":
            classes = scores.argmax(axis=1)
            places = np.flatnonzero(scores[np.arange(len(scores)), classes] > confidence)
            classes = classes[places]
        else:
            places, classes = np.nonzero(scores > confidence)
        chosen = scores[places, classes]
        order = np.argsort(-chosen, kind="stable")[:_MOST_SUPPRESSED]
        places, classes, chosen = places[order], classes[order], chosen[order]
        boxes = corners(rows[places, :4] / scale)
        kept = suppress(boxes, classes, float(self.options["overlap"]))
        kept = kept[: int(self.options["max_detections"])]
        first = int(self.options["first_class"])
        return Detections(boxes=boxes[kept], scores=chosen[kept], classes=classes[kept] - first)

    def _given(self, outputs: TensorMap, scale: Array) -> list[Detections]:
        """Outputs of a model that suppresses by itself."""
        names = self.options.get("outputs")
        if not names:
            raise UnscorableError("decoding.outputs does not say which output is which")
        missing = [name for name in names.values() if name not in outputs]
        if missing:
            raise UnscorableError(f"there is no output '{missing[0]}', only {', '.join(outputs)}")
        boxes, scores, classes = (outputs[names[key]] for key in ("boxes", "scores", "classes"))
        if (
            boxes.ndim != 3
            or boxes.shape[2] != 4
            or not boxes.shape[:2] == scores.shape == classes.shape
        ):
            raise UnscorableError(
                f"boxes {list(boxes.shape)}, scores {list(scores.shape)} and classes"
                f" {list(classes.shape)} do not belong together"
            )
        found = []
        for own, score, kind in zip(boxes, scores, classes, strict=True):
            order = np.argsort(-score, kind="stable")
            order = order[score[order] > float(self.options["confidence"])]
            order = order[: int(self.options["max_detections"])]
            kept = own[order].astype(np.float64)
            if self.options["corners"] == "yxyx":
                kept = kept[:, [1, 0, 3, 2]]
            shifted = kind[order].astype(np.int64) - int(self.options["first_class"])
            found.append(
                Detections(
                    boxes=kept / scale, scores=score[order].astype(np.float64), classes=shifted
                )
            )
        return found


def corners(boxes: Array) -> Array:
    """Centre x, centre y, width, height to corners x1, y1, x2, y2."""
    half = boxes[:, 2:4] / 2.0
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def suppress(boxes: Array, classes: Array, overlap: float) -> Array:
    """Indices of the boxes that no better box of their class overlaps by more than ``overlap``.

    Args:
        boxes: corners, the best first, (boxes, 4).
        classes: (boxes,).
        overlap: intersection over union.
    """
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    for value in np.unique(classes):
        rest = np.flatnonzero(classes == value)
        while rest.size:
            best, others = rest[0], rest[1:]
            kept.append(int(best))
            low = np.maximum(boxes[best, :2], boxes[others, :2])
            high = np.minimum(boxes[best, 2:], boxes[others, 2:])
            both = np.prod(np.maximum(high - low, 0.0), axis=1)
            union = areas[best] + areas[others] - both
            rest = others[both <= overlap * union]
    return np.sort(np.asarray(kept, dtype=np.int64))


def _true_boxes(truths: Sequence[Truth]) -> list[Array]:
    """Class, centre x, centre y, width, height of one image each; a negative class is padding."""
    boxes = arrays(truths, Task.DETECTION, "boxes")
    for own in boxes:
        if own.ndim != 2 or own.shape[1] != _BOX_COLUMNS:
            raise DataError(
                f"boxes have the columns class, x, y, width, height; found shape {list(own.shape)}"
            )
    return [own[own[:, 0] >= 0] for own in boxes]


def _match(
    found: Sequence[Detections], truths: Sequence[Array], most: int
) -> list[tuple[int, float, float, float]]:
    """Image, class, score and matches of every detection, by pycocotools."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise DataError(
            "the task detection needs pycocotools: pip install 'quantgate[tasks]'"
        ) from None

    true = [
        (image, int(row[0]), corners(row[None, 1:])[0], 1.0)
        for image, own in enumerate(truths)
        for row in own
    ]
    answers = [
        (image, int(kind), box, float(score))
        for image, own in enumerate(found)
        for box, score, kind in zip(own.boxes, own.scores, own.classes, strict=True)
    ]
    if not answers:
        return []
    kinds = sorted({kind for _, kind, _, _ in (*true, *answers)})
    with redirect_stdout(io.StringIO()):
        both = [COCO(), COCO()]
        for coco, boxes in zip(both, (true, answers), strict=True):
            coco.dataset = {
                "images": [{"id": image} for image in range(len(truths))],
                "categories": [{"id": kind} for kind in kinds],
                "annotations": [_annotation(i, *box) for i, box in enumerate(boxes, start=1)],
            }
            coco.createIndex()
        evaluation = COCOeval(*both, iouType="bbox")
        evaluation.params.iouThrs = np.asarray(IOU_THRESHOLDS)
        evaluation.params.maxDets = [most]
        evaluation.params.areaRng = [[0.0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    bits = 1 << np.arange(len(IOU_THRESHOLDS))
    rows = []
    for one in filter(None, evaluation.evalImgs):
        matched = (np.asarray(one["dtMatches"]) > 0).T @ bits
        for score, flags in zip(one["dtScores"], matched, strict=True):
            rows.append((one["image_id"], float(one["category_id"]), float(score), float(flags)))
    return sorted(rows, key=lambda row: row[0])


def _annotation(number: int, image: int, kind: int, box: Array, score: float) -> dict[str, Any]:
    x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
    return {
        "id": number,
        "image_id": image,
        "category_id": kind,
        "bbox": [float(x), float(y), float(width), float(height)],
        "area": float(width * height),
        "iscrowd": 0,
        "score": score,
    }


def _input_size(batch: Batch) -> tuple[int, int]:
    for value in batch.inputs.values():
        if value.ndim == 4:
            first = value.shape[1] in {1, 3}
            return (value.shape[2], value.shape[3]) if first else (value.shape[1], value.shape[2])
    raise UnscorableError("coordinates: pixels needs an image as input")
