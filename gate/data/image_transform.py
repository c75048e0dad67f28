"""Decoding, resizing and cropping with Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gate.core.spec import Options
from gate.core.tensors import Array
from gate.data.base import DataError

if TYPE_CHECKING:
    from PIL import Image


def decoded(image: Any, options: Options) -> Array:
    """Pixels after decode, resize and crop; uint8, shape (height, width, channels).

    Resizing keeps the ratio where one number is given (the shorter side, as torchvision does) and
    is antialiased; the crop is centred, its offset rounded half to even.

    Raises:
        DataError: the sample is no image, or smaller than the crop.
    """
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise DataError(f"a sample is a {type(image).__name__}, neither an image nor an array")
    order = options.get("decode", "rgb")
    image = image.convert("L" if order == "gray" else "RGB")
    if "resize" in options:
        resampling = Image.Resampling[str(options.get("interpolation", "bilinear")).upper()]
        height, width = _target(options["resize"], image.height, image.width)
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), resampling)
    if "crop" in options:
        image = _cropped(image, options["crop"])
    pixels = np.asarray(image)
    if order == "gray":
        return pixels[:, :, None]
    return pixels[:, :, ::-1] if order == "bgr" else pixels


def _target(resize: Any, height: int, width: int) -> tuple[int, int]:
    if isinstance(resize, list | tuple):
        return resize[0], resize[1]
    if height <= width:
        return resize, max(1, int(resize * width / height))
    return max(1, int(resize * height / width)), resize


def _cropped(image: Image.Image, crop: Any) -> Image.Image:
    height, width = crop if isinstance(crop, list | tuple) else (crop, crop)
    if height > image.height or width > image.width:
        raise DataError(
            f"preprocess: an image of {image.height} x {image.width} (height x width, after resize) is "
            f"smaller than the crop of {height} x {width}"
        )
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))
