"""Streaming layer outputs out of a LiteRT model that runs on the kernels of its target.

The runtime keeps what is an output; a copy of the file with more outputs is run for that. Delegated
layers stay delegated: reading tensors behind their back would show the built-in kernels' numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from gate.backends._litert_session import Model, Source, dequantized, with_outputs
from gate.core.tensors import Array, TensorMap
from gate.models.tflite_graph import TfliteGraph

BUDGET_BYTES = 64 * 2**20
"""Activations held at a time, in float32, for one batch; a single larger one is held alone."""


class Capture:
    """Extra interpreters of one file, one for each group of outputs.

    Args:
        source: the file.
        graph: its graph.
        names: of its inputs, as the plain model has them.
        budget: bytes of activations to hold at a time.
    """

    def __init__(
        self,
        source: Source,
        graph: TfliteGraph,
        names: Mapping[int, str],
        *,
        budget: int = BUDGET_BYTES,
    ) -> None:
        self._source = source
        self._graph = graph
        self._names = names
        self._budget = budget
        self._models: dict[tuple[int, ...], Model] = {}

    def stored(self, inputs: TensorMap, wanted: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Run once for each group and yield its tensors as the model stores them."""
        batch = len(next(iter(inputs.values())))
        for group in self._groups(wanted, batch):
            if group not in self._models:
                content = with_outputs(self._source.path, group)
                self._models[group] = Model(self._source, content, self._names)
            values = self._models[group].stored(inputs, group)
            values.reverse()  # so that pop() gives up one tensor's memory after the other
            for tensor in group:
                yield tensor, values.pop()

    def real(self, tensor: int, value: Array) -> Array:
        """Float32 values of a tensor from its stored ones."""
        import numpy as np

        about = self._graph.tensors[tensor]
        if not about.quantized:
            return value if value.dtype == np.float32 else value.astype(np.float32)
        shape = [1] * value.ndim
        if about.axis is not None:
            shape[about.axis] = len(about.scales)
        return dequantized(
            value,
            np.array(about.scales, np.float32).reshape(shape if about.axis is not None else ()),
            np.array(about.zero_points, np.float32).reshape(
                shape if about.axis is not None else ()
            ),
        )

    def _groups(self, wanted: Sequence[int], batch: int) -> list[tuple[int, ...]]:
        result: list[tuple[int, ...]] = []
        group: list[int] = []
        held = 0
        for tensor in wanted:
            shape = self._graph.tensors[tensor].shape
            # A file made for one sample stores its tensors for one.
            size = 4 * prod(shape[1:]) * max(batch, shape[0] if shape else 1)
            if group and held + size > self._budget:
                result.append(tuple(group))
                group, held = [], 0
            group.append(tensor)
            held += size
        return [*result, tuple(group)] if group else result
