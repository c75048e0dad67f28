"""Data source ``yolo-folder``: images with boxes in text files, one a line."""

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

_COLUMNS = 5


class YoloFolder(PairedFolder):
    """Images and their boxes in the format of the YOLO family.

    ``path`` has the folders ``images`` and ``labels``. ``labels/x.txt`` belongs to ``images/x.jpg``
    and has one line a box: class, centre x, centre y, width and height, the last four as shares of
    the image. An image without a file has no box; a file without an image is an error.
    """

    name = "yolo-folder"
    options_schema = folder_schema("Folder with images/ and labels/.")

    def open(self, options: Options) -> BoxFiles:
        """Read the boxes and find the images, in the order of their names.

        Raises:
            DataError: a missing folder, no image or no box at all, boxes without an image, or a line
                that is no box.
        """
        root = Path(str(options["path"]))
        images = paired_files(root, "images", EXTENSIONS)
        texts = paired_files(root, "labels", frozenset({".txt"}))
        stray = sorted(set(texts) - set(images))
        if stray:
            raise DataError(f"{root / 'labels'}: {stray[0]}.txt belongs to no image")
        boxes = [_boxes(root / "labels" / texts[name]) if name in texts else [] for name in images]
        return BoxFiles(root / "images", list(images.values()), boxes)


class BoxFiles(ImageFiles):
    """Image files with boxes; a ``Dataset``."""

    def __init__(
        self, root: Path, files: Sequence[str], boxes: Sequence[Sequence[Sequence[float]]]
    ) -> None:
        super().__init__(root, files, None)
        self._boxes = boxes

    def label(self, index: int) -> Array:
        """Boxes of one image: class, centre x, centre y, width, height; float64, (boxes, 5)."""
        import numpy as np

        return np.asarray(self._boxes[index], dtype=np.float64).reshape(-1, _COLUMNS)


def _boxes(path: Path) -> list[tuple[float, ...]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    boxes = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            box = tuple(float(word) for word in line.split())
        except ValueError:
            box = ()
        # Edges may lie a rounding beyond the image.
        sound = len(box) == _COLUMNS and box[0] >= 0 and box[0].is_integer()
        if not sound or not all(0.0 <= value <= 1.0 + 1e-6 for value in box[1:]):
            raise DataError(
                f"{path}:{number}: expected 'class x y width height' with the last four between 0 and"
                f" 1, found '{line.strip()[:60]}'"
            )
        boxes.append(box)
    return boxes
