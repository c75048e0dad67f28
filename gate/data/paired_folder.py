"""Base of data sources whose images have a file of the same stem each in a folder beside theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from gate.core.canonical import JsonValue
from gate.data.base import DataError
from gate.data.image_folder import ImageFolder


class PairedFolder:
    """A folder ``path`` with the folder ``images`` and another in it; see ``DataSource``."""

    name: ClassVar[str]
    options_schema: ClassVar[Mapping[str, JsonValue]]

    def unavailable(self) -> str | None:
        """Pillow must be installed."""
        return ImageFolder().unavailable()


def folder_schema(description: str) -> Mapping[str, JsonValue]:
    """JSON Schema of options that are a ``path`` alone."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {"path": {"type": "string", "format": "path", "description": description}},
    }


def paired_files(root: Path, folder: str, suffixes: frozenset[str]) -> dict[str, str]:
    """Stem -> name of every file of these kinds in ``root/folder``, sorted by stem.

    Raises:
        DataError: no such folder, no file in it, or two files of one stem.
    """
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder}: no such folder")
    found: dict[str, str] = {}
    for path in sorted((root / folder).iterdir(), key=lambda path: (path.stem, path.suffix)):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes or not path.is_file():
            continue
        if path.stem in found:
            raise DataError(f"{root / folder}: {found[path.stem]} and {path.name} have one stem")
        found[path.stem] = path.name
    if not found:
        raise DataError(f"{root / folder}: no file of {' '.join(sorted(suffixes))}")
    return found
