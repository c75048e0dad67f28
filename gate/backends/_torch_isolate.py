"""Cut single calls out of a torch graph, as graphs of their own.

A piece is one call with the quantize and dequantize calls before it, and the sizes and constants that
it takes. What enters is given in floating point; where the candidate holds it in integers it is
quantized first, with the scale and zero point that the tensor had when the candidate ran.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import NAMESPACE, is_boundary
from gate.backends._torch_describe import as_float32
from gate.backends._torch_graph import base_name, is_item_access
from gate.backends._torch_observe import first_tensor
from gate.backends.base import BackendError
from gate.backends.isolation import Operand, Piece, Saved
from gate.core.tensors import Array

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

MODEL_FILE = "layer.pt"
_BOUNDARY = frozenset({"quantize_per_tensor", "dequantize"})
_BOUNDARY_MODULES = frozenset({"Quantize", "DeQuantize", "QuantStub", "DeQuantStub"})
_REGISTERS = f"import torch.ao.quantization.fx._decomposed  # registers {NAMESPACE}"
# What torch raises for a piece that cannot be run or traced by itself: each becomes the reason that the
# layer has no isolated errors, which is told, and which a demand on it fails by.
_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


class _CannotError(Exception):
    """Why a call cannot be cut out."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a node gave when the candidate ran."""

    tensor: bool
    dtype: Any = None
    scale: float | None = None
    """Set where the tensor is quantized, by one scale."""
    zero_point: int = 0


class Cutter:
    """Cuts a graph that has been run once.

    Args:
        graph: the candidate.
        rows: node -> name of the layer that it is.
        inputs: names of the model's inputs, in the order of the placeholders.
        given: a few samples.
        settings: puts engine and threads in place.
    """

    def __init__(
        self,
        graph: GraphModule,
        rows: Mapping[Node, str],
        inputs: Sequence[str],
        given: Sequence[Tensor],
        settings: Callable[[], None],
        *,
        passed: Collection[Node] = (),
    ) -> None:
        """``passed`` are calls that stand for no layer; they go with the layer that reads them."""
        self._passed = frozenset(passed)
        self._graph = graph
        self._rows = rows
        self._settings = settings
        placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
        self._inputs = dict(zip(placeholders, inputs, strict=False))
        self._seen = _survey(graph, given)

    def pieces(self) -> dict[str, Piece | str]:
        """One piece, or the reason for none, a layer."""
        result: dict[str, Piece | str] = {}
        for node, name in self._rows.items():
            try:
                result[name] = self._piece(node)
            except _CannotError as error:
                result[name] = str(error)
        return result

    def _piece(self, node: Node) -> TorchPiece:
        inner: dict[Node, None] = {}
        leaves: dict[Node, None] = {}
        self._gather(node, inner, leaves)
        order = [n for n in self._graph.graph.nodes if n in inner]
        return TorchPiece(
            _extracted(self._graph, [*order, node], {n: self._seen[n] for n in leaves}),
            operands=tuple(self._operand(leaf) for leaf in leaves),
            types=tuple(
                None if self._seen[leaf].scale is not None else self._seen[leaf].dtype
                for leaf in leaves
            ),
            settings=self._settings,
        )

    def _gather(self, node: Node, inner: dict[Node, None], leaves: dict[Node, None]) -> None:
        for source in node.all_input_nodes:
            if source in inner or source in leaves:
                continue
            if source.op == "get_attr":
                inner[source] = None
            elif self._seen[source].tensor and not self._boundary(source):
                leaves[source] = None
            elif source in self._rows and not self._boundary(source) and source.op == "call_module":
                raise _CannotError(f"it takes all that '{self._rows[source]}' gives")
            else:
                inner[source] = None
                self._gather(source, inner, leaves)

    def _operand(self, leaf: Node) -> Operand:
        if leaf in self._inputs:
            return Operand(input=self._inputs[leaf])
        maker = leaf
        if is_item_access(leaf.target) and not self._seen[leaf.all_input_nodes[0]].tensor:
            maker = leaf.all_input_nodes[0]
            if leaf.args[1] != 0 or is_item_access(maker.target):
                raise _CannotError("it reads another output of a layer than the first")
        if maker not in self._rows:
            raise _CannotError(f"its input '{leaf.name}' is no layer's output")
        return Operand(layer=self._rows[maker])

    def _boundary(self, node: Node) -> bool:
        if is_boundary(node) or node in self._passed:
            return True
        if node.op == "call_module":
            kind = type(self._graph.get_submodule(str(node.target))).__name__
            return kind in _BOUNDARY_MODULES
        return node.op != "placeholder" and base_name(node.target) in _BOUNDARY


class TorchPiece:
    """One call of a candidate."""

    def __init__(
        self,
        module: GraphModule,
        *,
        operands: tuple[Operand, ...],
        types: tuple[Any, ...],
        settings: Callable[[], None],
    ) -> None:
        self.operands = operands
        self._module = module
        self._types = types
        self._settings = settings

    def run(self, operands: Sequence[Array]) -> Array:
        """See ``Piece.run``."""
        import torch

        self._settings()
        try:
            with torch.inference_mode():
                output = first_tensor(self._module(*self._tensors(operands)))
        except _FAILURES as error:
            told = next(iter(str(error).splitlines()), repr(error))
            raise BackendError(f"torch: {told}") from error
        if output is None:
            raise BackendError("it gives no tensor")
        value: Array = as_float32(output)
        return value

    def save(self, folder: Path, operands: Sequence[Array]) -> Saved:
        """See ``Piece.save``; as TorchScript, which holds packed weights and runs by itself."""
        import warnings

        import torch

        self._settings()
        tensors = self._tensors(operands)
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tracing: the layer is saved as it ran
                traced = torch.jit.trace(self._module, tensors, check_trace=False)
            traced.save(str(folder / MODEL_FILE))
        except _FAILURES as error:
            raise BackendError(f"torch cannot save the layer: {error}") from error
        types = [str(tensor.dtype).removeprefix("torch.") for tensor in tensors]
        engine = torch.backends.quantized.engine
        lines = [
            "import torch",
            *([_REGISTERS] if self._decomposed() else []),
            f"torch.backends.quantized.engine = {engine!r}",
            f"layer = torch.jit.load(here / {MODEL_FILE!r})",
            f"given = [torch.from_numpy(v).to(getattr(torch, t)) for v, t in zip(inputs, {types!r})]",
            "got = layer(*given)",
            "got = got[0] if isinstance(got, tuple) else got",
            "got = (got.dequantize() if got.is_quantized else got).float().numpy()",
        ]
        return Saved(file=MODEL_FILE, packages=("numpy", "torch"), runs="\n".join(lines))

    def _decomposed(self) -> bool:
        return any(is_boundary(node) for node in self._module.graph.nodes)

    def _tensors(self, operands: Sequence[Array]) -> tuple[Tensor, ...]:
        import numpy as np
        import torch

        tensors = []
        for value, kind in zip(operands, self._types, strict=True):
            array = np.asarray(value, order="C")
            tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
            tensors.append(tensor.to(kind if kind is not None else torch.float32))
        return tuple(tensors)


def _survey(graph: GraphModule, given: Sequence[Tensor]) -> dict[Node, _Seen]:
    """Run the graph once and note what each node gives."""
    import torch
    from torch import fx

    found: dict[Node, _Seen] = {}

    class Survey(fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            found[n] = _look(value)
            return value

    try:
        with torch.inference_mode():
            Survey(graph).run(*given)
    except _FAILURES as error:
        raise BackendError(f"torch: {error}") from error
    return found


def _look(value: Any) -> _Seen:
    import torch

    if not isinstance(value, torch.Tensor):
        return _Seen(tensor=False)
    if value.is_quantized and value.qscheme() == torch.per_tensor_affine:
        return _Seen(
            tensor=True, dtype=value.dtype, scale=value.q_scale(), zero_point=value.q_zero_point()
        )
    return _Seen(tensor=True, dtype=value.dtype)


def _extracted(root: nn.Module, nodes: Sequence[Node], leaves: Mapping[Node, _Seen]) -> GraphModule:
    """A graph of ``nodes`` alone, which takes the leaves in floating point."""
    import torch
    from torch import fx

    graph = fx.Graph()
    values: dict[Node, Node] = {}
    for index, leaf in enumerate(leaves):
        values[leaf] = graph.placeholder(f"input_{index}")
    for leaf, seen in leaves.items():
        if seen.scale is not None:
            arguments = (values[leaf], seen.scale, seen.zero_point, seen.dtype)
            values[leaf] = graph.call_function(torch.quantize_per_tensor, arguments)
    for node in nodes:
        values[node] = graph.node_copy(node, values.__getitem__)
    graph.output(values[nodes[-1]])
    return fx.GraphModule(root, graph)
