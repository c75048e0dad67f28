"""Collects the samples whose top-1 answer flipped, with small pictures where inputs are images."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO

import numpy as np

from gate.core.canonical import JsonValue
from gate.core.flips import Flip, Flips
from gate.core.tensors import Array
from gate.data.base import Batch
from gate.metrics.classification import topk_correct

FLIPS_KEPT = 12
"""Flips of one case that are kept at most."""
PICTURE_PIXELS = 64
"""Longest side of a picture."""
_SMALLEST_SIDE = 4


class Thumbnails:
    """Draws one sample of a model input as a small PNG: what the model sees, with the declared
    ``mean`` and ``std`` undone and the range stretched to that of a picture."""

    def __init__(self, preprocess: Mapping[str, JsonValue]) -> None:
        self._channels_last = preprocess.get("layout") == "nhwc"
        self._bgr = preprocess.get("decode") == "bgr"
        self._mean = np.asarray(preprocess.get("mean", 0.0), dtype=np.float64)
        self._std = np.asarray(preprocess.get("std", 1.0), dtype=np.float64)

    def unavailable(self) -> str:
        """Why nothing can be drawn here; empty where it can."""
        if find_spec("PIL") is None:
            return "Pillow is not installed: pip install 'quantgate[images]'"
        return ""

    def fits(self, sample: Array) -> bool:
        """Whether a sample (no batch axis) has the shape of an image of one or three channels."""
        if sample.ndim != 3 or sample.dtype.kind not in "fiu":
            return False
        height, width, channels = self._rows_first(sample).shape
        return channels in (1, 3) and min(height, width) >= _SMALLEST_SIDE

    def png(self, sample: Array) -> str:
        """The sample as a PNG in base64, at most ``PICTURE_PIXELS`` long and wide."""
        from PIL import Image

        pixels = self._rows_first(np.nan_to_num(sample.astype(np.float64)))
        if self._bgr:
            pixels = pixels[..., ::-1]
        pixels = pixels * self._std + self._mean
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) * (255.0 / (high - low) if high > low else 0.0)
        grey = pixels.shape[-1] == 1
        array = np.rint(pixels[..., 0] if grey else pixels).astype(np.uint8)
        image = Image.fromarray(array)
        image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
        buffer = BytesIO()
        image.save(buffer, format="PNG", optimize=True)
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    def _rows_first(self, sample: Array) -> Array:
        return sample if self._channels_last else np.moveaxis(sample, 0, -1)


class FlipCollector:
    """Takes every batch's logits and keeps the first flips; memory is bounded by their number."""

    def __init__(self, case_id: str, thumbnails: Thumbnails | None) -> None:
        """``thumbnails`` is None where inputs are no images, or no pictures are wanted."""
        self._case_id = case_id
        self._thumbnails = thumbnails
        self._why_not = ""
        self._seen = 0
        self._counts = {True: 0, False: 0}
        self._kept: dict[bool, list[Flip]] = {True: [], False: []}

    def add(self, batch: Batch, x: Array, y: Array) -> None:
        """Look at one labelled batch: logits of reference and candidate, shape (samples, classes)."""
        start, self._seen = self._seen, self._seen + len(batch.indices)
        if batch.labels is None:
            return
        right = topk_correct(x, batch.labels, 1), topk_correct(y, batch.labels, 1)
        for place in np.flatnonzero(right[0] != right[1]).tolist():
            lost = bool(right[0][place])
            self._counts[lost] += 1
            if len(self._kept[lost]) < FLIPS_KEPT:
                flip = Flip(
                    sample=start + place,
                    index=batch.indices[place],
                    label=int(batch.labels[place]),
                    reference=int(x[place].argmax()),
                    candidate=int(y[place].argmax()),
                    png=self._picture(batch, place),
                )
                self._kept[lost].append(flip)

    def result(self) -> Flips:
        """The flips so far; those that turned wrong are kept before those that turned right."""
        return Flips(
            case_id=self._case_id,
            lost=self._counts[True],
            gained=self._counts[False],
            kept=tuple([*self._kept[True], *self._kept[False]][:FLIPS_KEPT]),
            why_no_pictures=self._why_not,
        )

    def _picture(self, batch: Batch, place: int) -> str | None:
        if self._thumbnails is None or len(batch.inputs) != 1:
            return None
        sample = next(iter(batch.inputs.values()))[place]
        if not self._thumbnails.fits(sample):
            return None
        self._why_not = self._thumbnails.unavailable()
        return None if self._why_not else self._thumbnails.png(sample)
