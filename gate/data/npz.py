"""Data source ``npz``: arrays of a NumPy archive, read without unpickling."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.core.tensors import Array
from gate.data.base import DataError

if TYPE_CHECKING:
    from gate.data.arrays import ArrayDataset

_LOCAL_HEADER = 30  # bytes of a zip local file header before the name
_KEY: JsonValue = {"type": "string", "minLength": 1}


class Npz:
    """Arrays by key; uncompressed ones are memory-mapped, so that large files cost no memory."""

    name: ClassVar[str] = "npz"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["path", "inputs"],
        "properties": {
            "path": {"type": "string", "format": "path", "description": "The .npz file."},
            "inputs": {
                "anyOf": [
                    _KEY,
                    {"type": "object", "additionalProperties": _KEY, "minProperties": 1},
                ],
                "description": "Key of the samples, or model input name -> key.",
            },
            "labels": {
                **_KEY,
                "description": "Key of the class indices, masks, boxes, texts or targets; none without it.",
            },
            "speakers": {
                **_KEY,
                "description": "Key of who speaks in each sample, numbers or texts: the task transcription"
                " bounds its error rates over speakers.",
            },
        },
    }

    def unavailable(self) -> str | None:
        """Always works: NumPy is a dependency of the gate."""
        return None

    def open(self, options: Options) -> ArrayDataset:
        """Open the archive.

        Raises:
            DataError: a missing or damaged file, a missing key, or arrays of Python objects.
        """
        from gate.data.arrays import ArrayDataset

        path = Path(str(options["path"]))
        inputs, labels = options["inputs"], options.get("labels")
        speakers = options.get("speakers")
        try:
            with zipfile.ZipFile(path) as archive:
                read = _Reader(path, archive)
                arrays = (
                    {name: read(key) for name, key in inputs.items()}
                    if isinstance(inputs, Mapping)
                    else read(str(inputs))
                )
                return ArrayDataset(
                    arrays,
                    None if labels is None else read(str(labels)),
                    origin=str(path),
                    speakers=None if speakers is None else read(str(speakers)),
                )
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read as an .npz file: {error}") from error


class _Reader:
    """Reads members of one open archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._members = {
            name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")
        }

    def __call__(self, key: str) -> Array:
        import numpy as np

        if key not in self._members:
            there = ", ".join(sorted(self._members)) or "nothing"
            raise DataError(f"{self._path}: no array '{key}' (there is {there})")
        info = self._archive.getinfo(self._members[key])
        if info.compress_type == zipfile.ZIP_STORED and info.file_size > 0:
            return self._mapped(info)
        with self._archive.open(info) as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    def _mapped(self, info: zipfile.ZipInfo) -> Array:
        import numpy as np

        with self._path.open("rb") as stream:
            stream.seek(info.header_offset)
            header = stream.read(_LOCAL_HEADER)
            if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
                raise ValueError(f"damaged entry '{info.filename}'")
            skip = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            stream.seek(skip, 1)
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(stream)
            start = stream.tell()
        if dtype.hasobject:
            raise ValueError(f"'{info.filename}' holds Python objects, which are not unpickled")
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.memmap(
            self._path, dtype, "r", offset=start, shape=shape, order="F" if fortran else "C"
        )
