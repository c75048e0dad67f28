"""Average precision of detections as COCO counts it, over weighted images.

The matches of an image do not depend on the other images, so they are what is kept; precision and
recall are taken here, for the set as it is (weights of one) and for every resample of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Overlaps at which a detection may match: mAP@[.5:.95] is the mean over them."""
_RECALLS = np.linspace(0.0, 1.0, 101)


class AveragePrecision:
    """Mean average precision as a function of how often each image counts.

    Source: COCO evaluation (Lin et al. 2014, pycocotools ``accumulate``): detections of a class in
    order of falling score, precision made monotone, the mean of 101 recall levels, then the mean over
    classes that occur in the truth.

    Args:
        truth_image: image of each true box, (boxes,).
        truth_class: its class.
        image: image of each detection, (detections,).
        classes: its class.
        score: its confidence.
        matched: bit i set where it matches a true box at ``IOU_THRESHOLDS[i]``.
        images: how many there are.
    """

    def __init__(
        self,
        truth_image: npt.ArrayLike,
        truth_class: npt.ArrayLike,
        *,
        image: npt.ArrayLike,
        classes: npt.ArrayLike,
        score: npt.ArrayLike,
        matched: npt.ArrayLike,
        images: int,
    ) -> None:
        true_class = _whole(truth_class)
        self._known = np.unique(true_class)
        self._images = images
        # Boxes by class and image: a matrix product gives the number of each class in a resample.
        self._boxes = np.zeros((self._known.size, images))
        np.add.at(self._boxes, (np.searchsorted(self._known, true_class), _whole(truth_image)), 1.0)
        found_class, scores = _whole(classes), np.asarray(score, dtype=np.float64)
        order = np.lexsort((np.arange(scores.size), -scores, found_class))
        self._image = _whole(image)[order]
        bits = _whole(matched)[order]
        self._hits = (bits[:, None] >> np.arange(len(IOU_THRESHOLDS))) & 1
        ordered = found_class[order]
        self._bounds = [
            (int(np.searchsorted(ordered, c, "left")), int(np.searchsorted(ordered, c, "right")))
            for c in self._known
        ]

    def __call__(self, weights: Floats | None = None) -> Floats:
        """mAP at each of ``IOU_THRESHOLDS``, shares in [0, 1], (10,); NaN where no box is true."""
        counts = np.ones(self._images) if weights is None else weights
        positives = self._boxes @ counts
        drawn = counts[self._image]
        per_class = [
            self._one(slice(*bounds), drawn, total)
            for bounds, total in zip(self._bounds, positives, strict=True)
            if total > 0.0
        ]
        if not per_class:
            return np.full(len(IOU_THRESHOLDS), np.nan)
        mean: Floats = np.mean(per_class, axis=0)
        return mean

    def _one(self, rows: slice, drawn: Floats, positives: float) -> Floats:
        """Average precision of one class at each overlap."""
        weight = drawn[rows]
        present = weight > 0.0
        weight, hits = weight[present], self._hits[rows][present]
        if not weight.size:
            return np.zeros(len(IOU_THRESHOLDS))
        right = np.cumsum(hits * weight[:, None], axis=0)
        recall = right / positives
        precision = right / np.cumsum(weight)[:, None]
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        result = np.empty(len(IOU_THRESHOLDS))
        for column in range(len(IOU_THRESHOLDS)):
            places = np.searchsorted(recall[:, column], _RECALLS, side="left")
            reached = places < weight.size
            result[column] = envelope[places[reached], column].sum() / _RECALLS.size
        return result


def _whole(values: npt.ArrayLike) -> Ints:
    return np.asarray(values, dtype=np.float64).astype(np.int64)
