"""Data source ``python``: a trusted ``package.module:callable`` that yields samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.data.base import DataError, Dataset
from gate.spec.entries import ENTRY_PATTERN

_METHODS = ("__len__", "raw", "label", "identity")


class PythonData:
    """Calls the entry with ``kwargs``. It returns a ``Dataset``, an array, a mapping of model input
    names to arrays, or a pair of one of these and an array of labels."""

    name: ClassVar[str] = "python"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["entry"],
        "properties": {
            "entry": {
                "type": "string",
                "pattern": ENTRY_PATTERN,
                "description": "package.module:callable of a module that pyproject.toml trusts.",
            },
            "kwargs": {"type": "object", "description": "Keyword arguments of the call."},
        },
    }

    def unavailable(self) -> str | None:
        """What the entry needs is the spec's to say (``requires``)."""
        return None

    def open(self, options: Options) -> Dataset:
        """Call the entry.

        Raises:
            DataError: the module is not trusted, the call failed, or it returned something else.
        """
        import numpy as np

        from gate.data.arrays import ArrayDataset
        from gate.spec.entries import EntryError, load_entry

        entry = str(options["entry"])
        try:
            function = load_entry(entry)
        except EntryError as error:
            raise DataError(str(error)) from error
        try:
            result: Any = function(**options.get("kwargs", {}))
        except Exception as error:  # the user's code may raise anything; all of it is told
            raise DataError(f"{entry} raised {type(error).__name__}: {error}") from error
        if all(hasattr(result, method) for method in _METHODS):
            dataset: Dataset = result
            return dataset
        inputs, labels = (
            result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        )
        arrays = inputs.values() if isinstance(inputs, Mapping) else [inputs]
        if not all(isinstance(array, np.ndarray) for array in arrays) or not (
            labels is None or isinstance(labels, np.ndarray)
        ):
            raise DataError(
                f"{entry} returned {type(result).__name__}: expected a Dataset (with "
                f"{', '.join(_METHODS)}), arrays, or a pair (arrays, labels)"
            )
        return ArrayDataset(inputs, labels, origin=entry)
