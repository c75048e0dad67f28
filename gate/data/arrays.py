"""A data set held in arrays: what the npz, digits and python sources hand out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gate.core.tensors import Array
from gate.data.base import DataError, Truth


class ArrayDataset:
    """Samples along the first axis of one array, or of several named by model input.

    Args:
        inputs: one array, or input name -> array; real numbers, equal first axes. Memory-mapped
            arrays are read a sample at a time.
        labels: one entry a sample, or None: integer class indices or texts of shape (samples,), or
            numbers of any shape, such as masks, boxes, tokens or targets.
        origin: where the arrays come from, for messages.
        speakers: who speaks in each sample, whole numbers or texts of shape (samples,), or None.

    Raises:
        DataError: first axes or types that do not fit together, or no sample.
    """

    def __init__(
        self,
        inputs: Array | Mapping[str, Array],
        labels: Array | None,
        *,
        origin: str,
        speakers: Array | None = None,
    ) -> None:
        named = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
        if not named:
            raise DataError(f"{origin}: there is no input array")
        for name, array in named.items():
            if array.ndim == 0 or array.dtype.kind not in "fiub":
                raise DataError(
                    f"{origin}: inputs{f' {name!r}' if name else ''} must be numbers with a first "
                    f"axis of samples, got {array.dtype} of shape {list(array.shape)}"
                )
        counts = {name: len(array) for name, array in named.items()}
        if labels is not None:
            if labels.ndim == 0 or labels.dtype.kind not in "fiuU":
                raise DataError(
                    f"{origin}: labels must be numbers or texts with a first axis of samples, got "
                    f"{labels.dtype} of shape {list(labels.shape)}"
                )
            counts["labels"] = len(labels)
        if speakers is not None:
            if speakers.ndim != 1 or speakers.dtype.kind not in "iuU":
                raise DataError(
                    f"{origin}: speakers must be whole numbers or texts, one a sample, got "
                    f"{speakers.dtype} of shape {list(speakers.shape)}"
                )
            counts["speakers"] = len(speakers)
        if len(set(counts.values())) > 1:
            each = ", ".join(f"{name or 'inputs'}: {count}" for name, count in counts.items())
            raise DataError(f"{origin}: the numbers of samples differ ({each})")
        self._arrays = named
        self._labels = labels
        self._speakers = speakers
        self._single = not isinstance(inputs, Mapping)
        self._count = next(iter(counts.values()))

    def __len__(self) -> int:
        return self._count

    def raw(self, index: int) -> Array | dict[str, Array]:
        """One sample, without a batch axis."""
        if self._single:
            return np.asarray(self._arrays[""][index])
        return {name: np.asarray(array[index]) for name, array in self._arrays.items()}

    def label(self, index: int) -> Truth | None:
        """Class index, text or array; None without labels."""
        if self._labels is None:
            return None
        if self._labels.ndim == 1 and self._labels.dtype.kind != "f":
            truth: int | str = self._labels[index].item()
            return truth
        return np.asarray(self._labels[index])

    def speaker(self, index: int) -> str | int | None:
        """Who speaks in a sample; None where that is not known."""
        if self._speakers is None:
            return None
        found: str | int = self._speakers[index].item()
        return found

    def identity(self, index: int) -> bytes:
        """Name, type, shape and bytes of each array of the sample."""
        parts = []
        for name, array in sorted(self._arrays.items()):
            sample = np.asarray(array[index])
            parts.append(f"{name}:{sample.dtype.str}:{sample.shape}:".encode() + sample.tobytes())
        return b"".join(parts)
