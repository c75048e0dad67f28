"""Calibration samples as quantizers read them: in batches, as often as they like, with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gate.core.tensors import TensorMap
from gate.data.base import Batch, DataError, SampleSet


class CalibrationStream:
    """``LabelledBatches`` of a sample set.

    Args:
        samples: the calibration samples.
        size: samples a batch.
        tick: called after each batch with the number of samples so far.
    """

    def __init__(
        self, samples: SampleSet, size: int, tick: Callable[[int], None] = lambda _: None
    ) -> None:
        self._samples = samples
        self._size = size
        self._tick = tick

    def __call__(self) -> Iterator[TensorMap]:
        """Inputs alone."""
        return (batch.inputs for batch in self.labelled())

    def labelled(self) -> Iterator[Batch]:
        """Inputs, and labels where the data has any.

        Raises:
            DataError: a sample that cannot be read or does not fit the model's inputs.
        """
        done = 0
        batches = self._samples.batches(self._size)
        while True:
            try:
                batch = next(batches, None)
            except DataError as error:
                raise DataError(f"calibration: {error}") from error
            if batch is None:
                return
            yield batch
            done += len(batch.indices)
            self._tick(done)
