"""A torch module opened for running, describing and observing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import is_boundary
from gate.backends._torch_describe import as_float32, describe, packed_bytes
from gate.backends._torch_graph import call_names, graph_of
from gate.backends._torch_left import left_behind, passed_through
from gate.backends._torch_match import match_graphs
from gate.backends._torch_observe import GraphObserver, HookObserver
from gate.backends.base import BackendError
from gate.core.layer import KeptFloat, LayerRow
from gate.core.spec import InputSpec
from gate.core.tensors import Array, TensorMap
from gate.models.base import ModelError
from gate.models.tensors import example_inputs, name_outputs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

    from gate.backends._torch_compile import Compiled
    from gate.backends.isolation import Isolation


_FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    NotImplementedError,  # torch's own, where an engine has no kernel for the types it is given
    AssertionError,  # of compiled code, about what it was given by a kernel
)


class TorchSession:
    """Runs ``module`` in inference mode, with the engine and the threads of its target.

    Args:
        module: the network, in evaluation mode.
        reference: the float network that a candidate was made from, whose layer names it then bears;
            None for a reference.
        inputs: the declared inputs; they are passed by position, in this order.
        engine: quantized engine, set before every run (another session may have set its own).
        threads: intra-op threads, as above.
        compiled: what runs in the place of ``module``; layers are still described and observed in the
            graph of ``module``, which computes the same function.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        reference: nn.Module | None,
        inputs: Mapping[str, InputSpec],
        engine: str,
        threads: int,
        compiled: Compiled | None = None,
    ) -> None:
        self._module = module
        self._compiled = compiled
        self._reference = reference
        self._inputs = inputs
        self._engine = engine
        self._threads = threads
        self._observing: GraphObserver | HookObserver | None = None
        self._rows: Mapping[str, tuple[str, tuple[str, ...]]] = {}
        self._left: frozenset[str] = frozenset()
        """Calls that fusion left in the place of a layer: no rows of their own."""
        self._passed: frozenset[Node] = frozenset()
        """These and the calls at the borders of a candidate's layers."""

    def run(self, inputs: TensorMap) -> TensorMap:
        """See ``Session.run``."""
        outputs = self._forward(self._tensors(inputs))
        return {name: as_float32(tensor) for name, tensor in outputs.items()}

    def run_channels_last(self, inputs: TensorMap) -> TensorMap:
        """As ``run``, with the channels of every input of four or five axes last in memory."""
        import torch

        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        given = tuple(
            tensor.contiguous(memory_format=formats[tensor.ndim])
            if tensor.ndim in formats
            else tensor
            for tensor in self._tensors(inputs)
        )
        outputs = self._forward(given)
        return {name: as_float32(tensor) for name, tensor in outputs.items()}

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """See ``Session.layers``.

        Leaf modules and, where the model can be traced, the functions between them; of a candidate,
        under the names of the float layers that it was made from.
        """
        given = self._tensors(inputs)
        batch = len(given[0])
        observer = self._observer(given)
        rows = []
        for call in self._guarded(observer.stream(given)):
            if call.name in self._left:
                continue
            name, covers = self._rows.get(call.name, (call.name, ()))
            rows.append(describe(call, name=name, covers=covers, batch=batch))
            del call
        # Without boundaries, integer kernels are calls of the graph itself.
        nodes = self._graph.graph.nodes if self._graph is not None else ()
        if self._compiled is None or not any(map(is_boundary, nodes)):
            return tuple(rows)
        if not self._compiled.ran:
            self._forward(given)
        return self._compiled.told(rows)

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """See ``Session.capture``."""
        given = self._tensors(inputs)
        wanted = set(names)
        stream = self._guarded(self._observer(given).stream(given))
        try:
            for call in stream:
                name, output = call.name, call.output
                del call
                if name in wanted:
                    yield name, as_float32(output)
                del output
        finally:
            stream.close()

    def isolate(self, inputs: TensorMap) -> Isolation:
        """See ``IsolatingSession.isolate``.

        Raises:
            BackendError: the model cannot be traced, so that nothing is known of what its layers read.
        """
        from gate.backends._torch_isolate import Cutter
        from gate.backends.isolation import Isolation

        given = self._tensors(inputs)
        graph = self._graph
        if graph is None or not isinstance(self._observer(given), GraphObserver):
            raise BackendError("the model cannot be traced, so its layers cannot be told apart")
        names = call_names(graph)
        rows = {
            node: self._rows.get(name, (name, ()))[0]
            for node, name in names.items()
            if name not in self._left
        }
        self._apply_settings()
        cutter = Cutter(
            graph, rows, list(self._inputs), given, self._apply_settings, passed=self._passed
        )
        return Isolation(pieces=cutter.pieces())

    def packed_bytes(self) -> int | None:
        """See ``Session.packed_bytes`` and ``gate.backends._torch_describe.packed_bytes``."""
        return packed_bytes(self._module)

    def kept_float(self) -> tuple[KeptFloat, ...]:
        """See ``TellingSession.kept_float``; what nothing reads is told of models that can be traced."""
        from gate.backends._torch_kept import kept

        traced = isinstance(self._observer(example_inputs(self._inputs)), GraphObserver)
        return kept(self._module, traceable=traced, reference=self._reference)

    @cached_property
    def _graph(self) -> GraphModule | None:
        return graph_of(self._module)

    def _observer(self, given: tuple[Tensor, ...]) -> GraphObserver | HookObserver:
        """The graph, once it has been seen to compute what the module computes; else hooks."""
        if self._observing is None:
            graph = self._graph
            if graph is not None and self._same_function(graph, given):
                names = call_names(graph)
                self._rows = self._reference_names(graph, names)
                self._observing = GraphObserver(graph, names)
            else:
                self._observing = HookObserver(self._module, self._apply_settings)
        return self._observing

    def _same_function(self, graph: GraphModule, given: tuple[Tensor, ...]) -> bool:
        import torch

        if graph is self._module:
            return True
        # Tracing fixes what a model decides from shapes or flags; a graph that differs is not used.
        expected = self._forward(given, self._module)
        try:
            with torch.inference_mode():
                found = name_outputs(graph(*given))
        except (RuntimeError, TypeError, ValueError, IndexError, ModelError):
            return False
        return list(found) == list(expected) and all(
            torch.equal(found[name], expected[name]) for name in expected
        )

    def _reference_names(
        self, graph: GraphModule, names: Mapping[Node, str]
    ) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Own name -> name of the row and reference layers covered."""
        if self._reference is None:
            return {}
        reference = graph_of(self._reference)
        if reference is None:
            return {}
        theirs = call_names(reference)
        self._left = frozenset(names[node] for node in left_behind(reference, graph))
        self._passed = frozenset(passed_through(reference, graph))
        rows = {}
        for node, chain in match_graphs(reference, graph).items():
            covers = tuple(theirs[covered] for covered in chain)
            # Named after its head, covering nothing else: the plain rule "by name" says it all.
            rows[names[node]] = (covers[0], covers if len(covers) > 1 else ())
        # A call without a counterpart must not take a name that means another reference layer.
        taken = set(theirs.values())
        for name in names.values():
            if name not in rows and name in taken:
                rows[name] = (f"{name}@candidate", ())
        return rows

    def _tensors(self, inputs: TensorMap) -> tuple[Tensor, ...]:
        import numpy as np
        import torch

        if set(inputs) != set(self._inputs):
            raise BackendError(
                f"the model takes the inputs {', '.join(self._inputs)}; it was given "
                f"{', '.join(inputs) or 'none'}"
            )
        tensors = []
        for name in self._inputs:
            array = np.ascontiguousarray(inputs[name])
            # torch must neither warn about read-only memory nor write into the caller's.
            tensors.append(torch.from_numpy(array if array.flags.writeable else array.copy()))
        return tuple(tensors)

    def _forward(
        self, given: tuple[Tensor, ...], module: Callable[..., Any] | None = None
    ) -> dict[str, Tensor]:
        """Outputs of ``module``; of what runs here where it is not given."""
        import torch

        run = next(r for r in (module, self._compiled, self._module) if r is not None)
        self._apply_settings()
        try:
            with torch.inference_mode():
                return name_outputs(run(*given))
        except ModelError as error:
            raise BackendError(str(error)) from error
        except _FAILURES as error:
            raise BackendError(_explain(error, given)) from error

    def _guarded(self, stream: Iterator[Any]) -> _Guarded:
        self._apply_settings()
        return _Guarded(stream)

    def _apply_settings(self) -> None:
        import torch

        if torch.backends.quantized.engine != self._engine:
            torch.backends.quantized.engine = self._engine
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)


class _Guarded:
    """A stream of calls whose failures are the backend's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> _Guarded:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._stream)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise BackendError(f"torch: {_first_line(error)}") from error

    def close(self) -> None:
        """End the stream and what feeds it."""
        self._stream.close()


def _explain(error: Exception, given: tuple[Tensor, ...]) -> str:
    shapes = ", ".join(f"{list(tensor.shape)} {tensor.dtype}" for tensor in given)
    return f"torch: {_first_line(error)} (inputs: {shapes})"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
