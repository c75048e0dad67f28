"""Calibration batches as ONNX Runtime's calibrators read them: one at a time, ranges merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gate.core.transform import TensorTransform, TransformError, apply_inputs
from gate.quantize.base import CalibrationBatches, QuantizeError


class BatchReader:
    """A ``CalibrationDataReader`` over the calibration batches.

    The library asks for the number of batches and then for ranges of them (``CalibStridedMinMax``),
    and merges what it collected after each range: activations of one batch are held, not of all.

    Raises:
        QuantizeError: there is no batch, or one lacks an input.
    """

    def __init__(
        self,
        batches: CalibrationBatches,
        input_names: frozenset[str],
        transforms: Mapping[str, TensorTransform],
    ) -> None:
        self._input_names = input_names
        self._transforms = transforms
        self._count = sum(1 for _ in batches())
        if not self._count:
            raise QuantizeError("static quantization needs calibration samples; there is none")
        self._batches: Iterator[Any] = iter(batches())
        self._left = 0

    def __len__(self) -> int:
        """Number of batches."""
        return self._count

    def __iter__(self) -> BatchReader:
        """Itself: batches are read once."""
        return self

    def __next__(self) -> Mapping[str, Any]:
        """Next batch of the range."""
        following = self.get_next()
        if following is None:
            raise StopIteration
        return following

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give out batches ``start_index`` to ``end_index``; ranges come in order, without a gap."""
        self._left = end_index - start_index

    def get_next(self) -> Mapping[str, Any] | None:
        """Next batch of the range; None at its end."""
        if not self._left:
            return None
        self._left -= 1
        try:
            inputs = apply_inputs(next(self._batches), self._transforms)
        except TransformError as error:
            raise QuantizeError(f"calibration: {error}") from error
        if set(inputs) != self._input_names:
            raise QuantizeError(
                f"calibration: the model's inputs are {', '.join(sorted(self._input_names))}; the"
                f" samples have {', '.join(sorted(inputs))}"
            )
        return inputs
