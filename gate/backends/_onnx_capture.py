"""Streaming layer outputs out of a model without changing what it computes.

Asking the runtime for a dequantized tensor would keep it from fusing the nodes around it into an
integer kernel, and another thing would be measured. So the stored integers are asked for, and
dequantized here. In floating point an output that is asked for is not fused with what follows,
which changes last bits; the model's own outputs therefore come from its plain session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.backends._onnx_describe import channel_parameters
from gate.backends._onnx_fold import Folder
from gate.backends._onnx_graph import Graph
from gate.backends._onnx_session import Source, open_with_outputs, runtime_errors
from gate.backends.base import BackendError
from gate.core.tensors import Array

BUDGET_BYTES = 64 * 2**20
"""Activations held at a time, as the model stores them, for one batch; a single larger one is held alone."""
KEPT_BYTES = 2**30
"""Of sessions that are kept for the next batch, each with weights of its own and room for a group; what goes
beyond is opened for each batch anew."""


class Capture:
    """Extra sessions of one model, one for each group of outputs.

    Args:
        source: the file.
        plain: its session without extra outputs.
        graph: its graph.
        folder: its layers.
        sample_bytes: bytes of each tensor for one sample.
        budget: bytes of activations to hold at a time.
    """

    def __init__(
        self,
        source: Source,
        plain: Any,
        graph: Graph,
        folder: Folder,
        sample_bytes: Mapping[str, float],
        *,
        budget: int = BUDGET_BYTES,
    ) -> None:
        self._source = source
        self._plain = plain
        self._graph = graph
        self._folder = folder
        self._sample_bytes = sample_bytes
        self._budget = budget
        self._constants = graph.constant_bytes()
        self._sessions: dict[tuple[str, ...], Any] = {}
        self._parameters: dict[str, tuple[Array, Array] | None] = {}

    def stream(
        self, feeds: Mapping[str, Any], names: Sequence[str], batch: int
    ) -> Iterator[tuple[str, Array]]:
        """Run once for each group and yield its tensors, one at a time, in float32."""
        for group in self.groups(names, batch):
            values = self._run(group, feeds)
            values.reverse()  # so that pop() gives up one tensor's memory after the other
            for name in group:
                yield name, self.real(name, values.pop().numpy())

    def groups(self, names: Sequence[str], batch: int) -> list[tuple[str, ...]]:
        """Split ``names``, in order of execution, into groups within the budget.

        Names that the model does not have are left out.
        """
        wanted = set(names)
        result: list[tuple[str, ...]] = []
        group: list[str] = []
        held = 0.0
        for layer in self._folder.layers:
            name = layer.outputs[0]
            if name not in wanted or name not in self._sample_bytes:
                continue
            wanted.discard(name)
            size = self._sample_bytes[name] * batch
            final = name in self._graph.outputs
            other = bool(group) and (group[0] in self._graph.outputs) is not final
            if group and (held + size > self._budget or other):
                result.append(tuple(group))
                group, held = [], 0.0
            group.append(name)
            held += size
        return [*result, tuple(group)] if group else result

    def _run(self, group: tuple[str, ...], feeds: Mapping[str, Any]) -> list[Any]:
        try:
            return list(self._session(group).run_with_ort_values(list(group), feeds))
        except runtime_errors() as error:
            raise BackendError(f"{self._source.path}: failed while observed: {error}") from error

    def _session(self, group: tuple[str, ...]) -> Any:
        if group[0] in self._graph.outputs:
            return self._plain
        if group in self._sessions:
            return self._sessions[group]
        session = open_with_outputs(self._source, group)
        # Weights as read, in the graph and packed for kernels.
        if (len(self._sessions) + 1) * (3 * self._constants + self._budget) <= KEPT_BYTES:
            self._sessions[group] = session
        return session

    def real(self, name: str, value: Array) -> Array:
        """Float32 values of the tensor ``name`` from those that the model stores.

        Raises:
            BackendError: its scale is found at run time.
        """
        import numpy as np

        if name not in self._parameters:
            self._parameters[name] = self._find_parameters(name, value.ndim)
        parameters = self._parameters[name]
        if parameters is None:
            return value if value.dtype == np.float32 else value.astype(np.float32)
        scale, zero_point = parameters
        real: Array = np.subtract(value, zero_point, dtype=np.float32)
        real *= scale
        return real

    def _find_parameters(self, name: str, rank: int) -> tuple[Array, Array] | None:
        """Scale and zero point of a stored tensor as float32, shaped to broadcast against it."""
        import numpy as np

        stored = self._folder.stored(name)
        if stored is None:
            return None
        found = channel_parameters(stored, self._graph)
        if found is None:
            raise BackendError(
                f"{self._source.path}: the scale of {name!r} is found at run time, so that its"
                " stored values cannot be read"
            )
        shape = [1] * rank
        if len(found[0]) > 1 and stored.axis is not None:
            shape[stored.axis] = len(found[0])
        scale, zero_point = (
            np.array(part, dtype=np.float32).reshape(shape if len(part) > 1 else ())
            for part in found
        )
        return scale, zero_point
