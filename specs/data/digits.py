"""scikit-learn's handwritten digits as colour images of a size that image networks take, and as scenes.

The splits are those of the data source ``sklearn-digits``: nothing that is evaluated was trained on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gate.data.sklearn_digits import SklearnDigits

SEED = 20240229
SIDE = 8
BACKGROUND, DIGIT = 0, 1
"""Classes of the pixels of scenes."""

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def grey(split: str) -> tuple[Images, Labels]:
    """Images of shape (samples, 8, 8), 0 to 16, and their labels."""
    data = SklearnDigits().open({"split": split})
    images = np.stack([data.raw(i) for i in range(len(data))])
    return images, np.array([data.label(i) for i in range(len(data))], np.int64)


def planes(split: str = "test") -> tuple[npt.NDArray[np.float32], Labels]:
    """Images in [0, 1], shape (samples, 1, 8, 8), and their labels."""
    images, labels = grey(split)
    return (images / 16).astype(np.float32)[:, None], labels


def steps(count: int = 32, length: int = 16, inputs: int = 256) -> npt.NDArray[np.float32]:
    """Digits as the steps of sequences: shape (count, length, inputs), standard deviation about 1."""
    images, _ = grey("test")
    flat = images.astype(np.float32).reshape(-1) / 16
    made = np.resize(flat, (count, length, inputs)) - flat.mean()
    return np.ascontiguousarray(made / flat.std())


def rgb(split: str = "test", size: int = 32) -> tuple[Images, Labels]:
    """Each pixel a square of ``size / 8``, in three equal channels: shape (samples, 3, size, size), 0 to 16."""
    images, labels = grey(split)
    factor = size // SIDE
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.ascontiguousarray(
        np.broadcast_to(large[:, None], (len(images), 3, size, size))
    ), labels


def scenes(split: str = "test", count: int = 400, size: int = 64) -> tuple[Images, Labels]:
    """Scenes with one to three digits of 24 pixels at random places on a faint gradient, for segmentation.

    Returns images (count, 3, size, size), 0 to 16, and a class for each pixel, (count, size, size): the
    squares that digits stand in, which a network with an output stride of 8 can tell. Scene i is the same
    whatever ``count`` is.
    """
    digits, _ = grey(split)
    images = np.empty((count, 3, size, size), np.uint8)
    masks = np.zeros((count, size, size), np.int64)
    for index in range(count):
        draw = np.random.Generator(np.random.PCG64([SEED, index]))
        ramp = np.add.outer(np.arange(size), np.arange(size)) * draw.uniform(0, 3) / (2 * size)
        scene = ramp.copy()
        for _ in range(int(draw.integers(1, 4))):
            which = int(draw.integers(len(digits)))
            digit = digits[which].repeat(3, axis=0).repeat(3, axis=1)
            top, left = draw.integers(0, size - len(digit) + 1, 2)
            place = (slice(top, top + len(digit)), slice(left, left + len(digit)))
            scene[place] = np.maximum(scene[place], digit)
            masks[(index, *place)] = DIGIT
        images[index] = np.rint(scene).astype(np.uint8)
    return images, masks
