"""Crops of the two photographs that scikit-learn carries: real image statistics with no download.

They have no labels. For networks whose weights were never trained, they say whether the quantized
network computes what the float network computes, which noise would flatter.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

PHOTOS = ("china.jpg", "flower.jpg")
SEED = 20240229
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class Crops:
    """``count`` square crops of random place, size and mirroring; a data set for the gate.

    Crop i is the same whatever ``count`` is. Even crops are of the temple, odd ones of the flower.
    """

    def __init__(self, count: int) -> None:
        self._photos = _photos()
        self._count = count

    def __len__(self) -> int:
        return self._count

    def raw(self, index: int) -> Image.Image:
        """The crop in its own resolution, 160 to 400 pixels a side."""
        draw = np.random.Generator(np.random.PCG64([SEED, index]))
        photo = self._photos[index % 2]
        side = int(draw.integers(160, 401))
        left = int(draw.integers(0, photo.width - side + 1))
        top = int(draw.integers(0, photo.height - side + 1))
        crop = photo.crop((left, top, left + side, top + side))
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else crop

    def label(self, index: int) -> None:
        """None: the crops have no classes."""

    def identity(self, index: int) -> bytes:
        """Digest of the crop's size and pixels."""
        crop = self.raw(index)
        return hashlib.sha256(f"{crop.size}".encode() + crop.tobytes()).digest()


def _photos() -> list[Image.Image]:
    """Both photographs, read from scikit-learn's own files: importing ``sklearn.datasets`` takes a
    second, in every worker."""
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the photographs are those of scikit-learn: pip install 'quantgate[sklearn]'"
        )
    folder = Path(spec.submodule_search_locations[0], "datasets", "images")
    return [Image.open(folder / name).convert("RGB") for name in PHOTOS]


def crops(count: int = 256) -> Crops:
    """Data set for ``source: python``."""
    return Crops(count)


def batch(count: int = 32, first: int = 1000, size: int = 224) -> npt.NDArray[np.float32]:
    """Preprocessed crops, shape (count, 3, size, size), for taking batch-norm statistics.

    They start at crop ``first``, beyond those that a spec draws from ``crops``.
    """
    data = Crops(first + count)
    images = [
        data.raw(i).resize((size, size), Image.Resampling.BILINEAR)
        for i in range(first, first + count)
    ]
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(0, 3, 1, 2))
