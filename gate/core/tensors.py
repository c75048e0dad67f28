"""Names of the array types that cross station borders; importing this imports no NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
TensorMap: TypeAlias = "Mapping[str, npt.NDArray[Any]]"
"""Tensor name -> array; the first axis is the batch."""
