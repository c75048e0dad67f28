"""Data source ``image-folder``: class folders, or a list file of images and class indices."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.data.base import DataError, Truth

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_LABELLED = re.compile(r"^(?P<path>.+?)\s*[,\s]\s*(?P<label>\d+)$")


class ImageFolder:
    """Images on disk.

    Without ``list``, ``path`` has one folder a class; classes are numbered in the order of their
    names. With ``list``, each line is an image path and a class index (separated by white space or
    a comma; ``#`` starts a comment line), or the path alone where there are no labels; paths are
    relative to ``path``, which is the list's own folder where it is left out.
    """

    name: ClassVar[str] = "image-folder"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["path"]}, {"required": ["list"]}],
        "properties": {
            "path": {"type": "string", "format": "path", "description": "Folder of the images."},
            "list": {
                "type": "string",
                "format": "path",
                "description": "Text file of image paths and class indices.",
            },
        },
    }

    def unavailable(self) -> str | None:
        """Pillow must be installed."""
        from importlib.util import find_spec

        if find_spec("PIL") is None:
            return "Pillow is not installed: pip install 'quantgate[images]'"
        return None

    def open(self, options: Options) -> ImageFiles:
        """Find the images; none is opened yet.

        Raises:
            DataError: a missing folder, list or image, an empty class, a line that cannot be read,
                or a path out of the folder.
        """
        listed = options.get("list")
        root = Path(str(options["path"] if "path" in options else Path(str(listed)).parent))
        if not root.is_dir():
            raise DataError(f"{root}: no such folder")
        if listed is None:
            return ImageFiles(root, *_class_folders(root))
        return ImageFiles(root, *_list_file(Path(str(listed)), root))


class ImageFiles:
    """Image files under one folder; a ``Dataset``."""

    def __init__(self, root: Path, files: Sequence[str], labels: Sequence[int] | None) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._files = files
        self._labels = labels

    def __len__(self) -> int:
        return len(self._files)

    def raw(self, index: int) -> Any:
        """The decoded image (``PIL.Image.Image``), in the mode of the file.

        Raises:
            DataError: the file is missing, leaves the folder by a link, or is no whole image.
        """
        from PIL import Image

        try:
            image = Image.open(BytesIO(self.identity(index)))
            image.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{self._root / self._files[index]}: not a readable image: {error}"
            ) from error
        return image

    def label(self, index: int) -> Truth | None:
        """Class index, or None without labels."""
        return None if self._labels is None else self._labels[index]

    def identity(self, index: int) -> bytes:
        """The bytes of the file."""
        path = self._root / self._files[index]
        # A link may point anywhere; what is evaluated has to lie in the folder that the spec names.
        if not path.resolve().is_relative_to(self._real_root):
            raise DataError(f"{path}: a link that leads out of {self._root}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _class_folders(root: Path) -> tuple[list[str], list[int]]:
    classes = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not classes:
        raise DataError(f"{root}: no class folders; name a list file for a flat folder")
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(
            path.relative_to(root).as_posix()
            for path in (root / name).rglob("*")
            if path.suffix.lower() in EXTENSIONS and path.is_file()
        )
        if not found:
            raise DataError(
                f"{root / name}: a class folder with no image ({' '.join(sorted(EXTENSIONS))})"
            )
        files += found
        labels += [label] * len(found)
    return files, labels


def _list_file(path: Path, root: Path) -> tuple[list[str], list[int] | None]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such list file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable list file: {error}") from error
    files: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LABELLED.match(text)
        name = os.path.normpath(match["path"] if match else text)
        if Path(name).is_absolute() or os.pardir in Path(name).parts:
            raise DataError(f"{path}:{number}: '{name}' leads out of {root}")
        if not (root / name).is_file():
            raise DataError(f"{path}:{number}: no such image: {root / name}")
        files.append(name)
        if match:
            labels.append(int(match["label"]))
        if len(labels) not in (0, len(files)):
            raise DataError(
                f"{path}:{number}: some lines have a class index and some have none: expected "
                "'path index' in every line, or 'path' in every line"
            )
    if not files:
        raise DataError(f"{path}: the list names no image")
    return files, labels or None
