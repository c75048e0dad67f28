from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gate.data.base import Batch
from gate.tiers.flips import FLIPS_KEPT, PICTURE_PIXELS, FlipCollector, Thumbnails


def batch(labels, images=None, start=0):
    count = len(labels)
    inputs = np.zeros((count, 4), np.float32) if images is None else images
    return Batch(
        inputs={"x": inputs},
        labels=np.array(labels, np.int64),
        indices=tuple(100 + start + i for i in range(count)),
    )


def logits(answers):
    return np.eye(3, dtype=np.float32)[answers]


def opened(png):
    return Image.open(BytesIO(base64.b64decode(png)))


def test_lost_and_gained_samples_are_told_apart_and_counted():
    flips = FlipCollector("a/b@c", None)
    flips.add(batch([0, 1, 2, 2]), logits([0, 1, 2, 0]), logits([0, 2, 2, 2]))
    flips.add(batch([1, 1], start=4), logits([0, 1]), logits([2, 0]))
    found = flips.result()
    assert (found.lost, found.gained) == (2, 1)
    assert [(f.sample, f.index, f.label, f.reference, f.candidate) for f in found.kept] == [
        (1, 101, 1, 1, 2),
        (5, 105, 1, 1, 0),
        (3, 103, 2, 0, 2),
    ]
    assert [f.lost for f in found.kept] == [True, True, False]


def test_no_more_are_kept_than_shown_and_the_lost_come_first():
    flips = FlipCollector("a/b@c", None)
    flips.add(batch([0] * 30), logits([1] * 30), logits([0] * 30))
    flips.add(batch([0] * 5, start=30), logits([0] * 5), logits([1] * 5))
    found = flips.result()
    assert (found.lost, found.gained, len(found.kept)) == (5, 30, FLIPS_KEPT)
    assert [f.lost for f in found.kept] == [True] * 5 + [False] * (FLIPS_KEPT - 5)


def test_without_labels_nothing_flips():
    flips = FlipCollector("a/b@c", None)
    unlabelled = Batch(inputs={"x": np.zeros((1, 4))}, labels=None, indices=(0,))
    flips.add(unlabelled, logits([0]), logits([1]))
    assert flips.result().kept == ()


def test_a_logit_that_is_no_number_is_never_right():
    flips = FlipCollector("a/b@c", None)
    flips.add(batch([0]), logits([0]), np.full((1, 3), np.nan, np.float32))
    assert flips.result().lost == 1


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_picture_is_what_the_model_sees_with_the_preprocessing_undone(layout):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 50, 3)).astype(np.float64)
    pixels[0, 0], pixels[0, 1] = 0, 255  # the range of a picture, so that nothing is stretched
    mean, std = np.array([120.0, 110.0, 100.0]), np.array([60.0, 55.0, 50.0])
    sample = (pixels - mean) / std
    sample = sample if layout == "nhwc" else np.moveaxis(sample, -1, 0)
    thumbnails = Thumbnails({"mean": mean.tolist(), "std": std.tolist(), "layout": layout})
    assert thumbnails.fits(sample)
    drawn = np.asarray(opened(thumbnails.png(sample.astype(np.float32))))
    assert drawn.shape == (40, 50, 3)
    assert np.abs(drawn - pixels).max() <= 1


def test_pictures_are_small_and_of_a_few_kilobytes_at_most():
    noise = np.random.default_rng(0).standard_normal((3, 300, 200)).astype(np.float32)
    png = Thumbnails({}).png(noise)
    assert max(opened(png).size) == PICTURE_PIXELS
    assert len(png) < 20_000


def test_blue_comes_first_where_the_spec_says_so():
    sample = np.zeros((3, 8, 8), np.float32)
    sample[0] = 1.0
    assert opened(Thumbnails({"decode": "bgr"}).png(sample)).getpixel((3, 3)) == (0, 0, 255)
    assert opened(Thumbnails({}).png(sample)).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize(
    "shape", [(8,), (8, 8), (2, 8, 8), (8, 8, 3), (3, 2, 8), (1, 3, 8, 8), (3, 0, 0)]
)
def test_other_shapes_are_no_images(shape):
    assert not Thumbnails({}).fits(np.zeros(shape, np.float32))


def test_constant_and_infinite_inputs_are_drawn_all_the_same():
    thumbnails = Thumbnails({"std": 0.5})
    assert opened(thumbnails.png(np.ones((1, 8, 8), np.float32))).size == (8, 8)
    assert opened(thumbnails.png(np.full((1, 8, 8), np.inf, np.float32))).size == (8, 8)


def test_where_nothing_can_be_drawn_the_reason_is_kept(monkeypatch):
    images = np.zeros((1, 1, 8, 8), np.float32)
    monkeypatch.setattr(Thumbnails, "unavailable", lambda self: "no Pillow here")
    flips = FlipCollector("a/b@c", Thumbnails({}))
    flips.add(batch([0], images), logits([0]), logits([1]))
    found = flips.result()
    assert found.why_no_pictures == "no Pillow here"
    assert found.kept[0].png is None
