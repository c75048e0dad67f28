"""Data source ``mask-folder``: images with a mask of classes each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gate.core.spec import Options
from gate.data.base import DataError
from gate.data.image_folder import EXTENSIONS, ImageFiles
from gate.data.paired_folder import PairedFolder, folder_schema, paired_files

if TYPE_CHECKING:
    from gate.core.tensors import Array

_MASKS = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""Formats that keep a class index as it is."""


class MaskFolder(PairedFolder):
    """``path`` has the folders ``images`` and ``masks``; files of one stem belong together.

    A mask is an image of one plane (grey or with a palette) whose pixel values are class indices.
    """

    name = "mask-folder"
    options_schema = folder_schema("Folder with images/ and masks/.")

    def open(self, options: Options) -> MaskFiles:
        """Find images and masks; none is opened yet.

        Raises:
            DataError: a missing folder, no image, or an image or a mask without the other.
        """
        root = Path(str(options["path"]))
        images, masks = (
            paired_files(root, "images", EXTENSIONS),
            paired_files(root, "masks", _MASKS),
        )
        alone = sorted(set(images) ^ set(masks))
        if alone:
            lacking = "masks" if alone[0] in images else "images"
            raise DataError(f"{root / lacking}: there is no '{alone[0]}'")
        return MaskFiles(root, list(images.values()), [masks[stem] for stem in images])


class MaskFiles(ImageFiles):
    """Image files with masks; a ``Dataset``."""

    def __init__(self, root: Path, files: Sequence[str], masks: Sequence[str]) -> None:
        super().__init__(root / "images", files, None)
        self._masks = ImageFiles(root / "masks", masks, None)

    def label(self, index: int) -> Array:
        """Class of each pixel; int64, (height, width).

        Raises:
            DataError: the mask is missing, or has more than one plane.
        """
        import numpy as np

        mask = np.asarray(self._masks.raw(index))
        if mask.ndim != 2:
            raise DataError(
                f"mask {index} has the shape {list(mask.shape)}: expected one plane of class indices"
            )
        return mask.astype(np.int64)
