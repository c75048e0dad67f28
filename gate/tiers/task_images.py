"""Segmentation: pixels by class, of the mask, of the answer and of both."""

from __future__ import annotations

import numpy as np

from gate.core.spec import Options
from gate.core.task import Task
from gate.core.tensors import Array, TensorMap
from gate.data.base import DataError
from gate.tiers.task import Facts, Labelled, TaskScorer, arrays


class SegmentationScorer(TaskScorer):
    """Rows are image by image, within an image class by class."""

    task = Task.SEGMENTATION
    truth_columns = ()
    columns = ("pixels", "predicted", "intersection")

    def __init__(self, options: Options, preprocess: Options) -> None:
        super().__init__(options)
        # Only a plain resize to a size keeps a mask in place when it is resized as well.
        self._resizable = "crop" not in preprocess and isinstance(preprocess.get("resize"), list)

    def prepare(self, given: Labelled) -> Facts:
        """Nothing: how many pixels count depends on the size of the answer."""
        for mask in arrays(given.truths, self.task, "masks"):
            if mask.ndim != 2 or mask.dtype.kind not in "iu":
                raise DataError(
                    "a mask has whole numbers of shape (height, width), found"
                    f" {mask.dtype} of shape {list(mask.shape)}"
                )
        return {}

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Pixels of each class in the mask, in the answer and in both."""
        scores = self.output(
            outputs, lambda v: v.ndim == 4 and v.dtype.kind == "f", "scores of four axes"
        )
        axis = 1 if self.options["layout"] == "nchw" else 3
        classes = scores.shape[axis]
        answers = scores.argmax(axis=axis)
        pixels, predicted, intersection = [], [], []
        for answer, truth in zip(answers, arrays(given.truths, self.task, "masks"), strict=True):
            mask = self._fitted(truth, answer.shape)
            counted = mask != int(self.options["ignore"])
            true, found = mask[counted], answer[counted]
            if true.size and not 0 <= true.min() <= true.max() < classes:
                raise DataError(
                    f"a mask has classes from {true.min()} to {true.max()}, the model {classes}; is"
                    " decoding.ignore another value?"
                )
            pixels += np.bincount(true, minlength=classes).tolist()
            predicted += np.bincount(found, minlength=classes).tolist()
            intersection += np.bincount(true[true == found], minlength=classes).tolist()
        return {"pixels": pixels, "predicted": predicted, "intersection": intersection}

    def _fitted(self, mask: Array, shape: tuple[int, ...]) -> Array:
        """The mask in the size of the answer, by nearest neighbours."""
        if mask.shape == shape:
            return mask
        if not self._resizable:
            raise DataError(
                f"a mask of {list(mask.shape)} for an answer of {list(shape)}: give masks of that"
                " size, or resize images to [height, width] without a crop"
            )
        rows, columns = (
            ((np.arange(after) + 0.5) * before / after).astype(np.intp)
            for before, after in zip(mask.shape, shape, strict=True)
        )
        return np.asarray(mask[rows[:, None], columns[None, :]])
