"""Backend: ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from gate.backends import _onnx_session, isa
from gate.backends.base import BackendError
from gate.backends.transform import transformed
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.environment import Environment
from gate.core.layer import KeptFloat, LayerRow, TensorInfo
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.core.transform import candidate_transforms, reference_transforms

if TYPE_CHECKING:
    from gate.backends._onnx_capture import Capture
    from gate.backends._onnx_fold import Folded, Folder
    from gate.backends._onnx_follow import Identity
    from gate.backends._onnx_graph import Graph
    from gate.backends.base import Session
    from gate.backends.isolation import Isolation
    from gate.models.base import LoadedModel


class OnnxRuntimeSession:
    """One opened ONNX file.

    Args:
        source: the file.
        float_path: the float model that it was made from, whose layer names it then bears.
        of_modules: it was exported from a torch model, whose layer names it then bears.
    """

    def __init__(
        self,
        source: _onnx_session.Source,
        float_path: Path | None = None,
        *,
        of_modules: bool = False,
    ) -> None:
        self._source = source
        self._float_path = float_path
        self._of_modules = of_modules
        self._session = _onnx_session.open_session(source)
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._outputs = [value.name for value in self._session.get_outputs()]
        # Shapes of the inputs (of one sample of them) that these were made for.
        self._infos: tuple[dict[str, tuple[int, ...]], dict[str, TensorInfo]] | None = None
        self._capture: tuple[dict[str, tuple[int, ...]], Capture] | None = None

    def run(self, inputs: TensorMap) -> TensorMap:
        """See ``Session.run``."""
        import numpy as np

        self._check(inputs)
        try:
            values = self._session.run(self._outputs, inputs)
        except _onnx_session.runtime_errors() as error:
            raise BackendError(f"{self._source.path}: fails on these inputs: {error}") from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in zip(self._outputs, values, strict=True)
        }

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """See ``Session.layers``; quantize and dequantize nodes are folded into their neighbours."""
        from gate.backends import _onnx_describe as describe
        from gate.backends._onnx_blocks import runtime_nodes

        self._check(inputs)
        facts = describe.Facts(
            graph=self._graph,
            infos=self._tensor_infos(inputs),
            runtime=runtime_nodes(self._optimised),
            batch=_batch(inputs),
        )
        return tuple(describe.row(layer, identity, facts) for layer, identity in self._named())

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """See ``Session.capture``.

        A group of outputs that exceeds the budget costs another run of the model: batches that
        keep all activations within 64 MiB are fastest.
        """
        import onnxruntime

        self._check(inputs)
        feeds = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in inputs.items()
        }
        return self._observer(inputs).stream(feeds, names, _batch(inputs))

    def isolate(self, inputs: TensorMap) -> Isolation:
        """See ``IsolatingSession.isolate``."""
        from gate.backends._onnx_isolate import Cutter
        from gate.backends.isolation import Isolation

        self._check(inputs)
        cutter = Cutter(
            source=self._source,
            graph=self._graph,
            folder=self._folder,
            infos=self._tensor_infos(inputs),
            real=self._observer(inputs).real,
        )
        return Isolation(pieces=cutter.pieces(self._named()))

    def kept_float(self) -> tuple[KeptFloat, ...]:
        """See ``TellingSession.kept_float``."""
        from gate.backends._onnx_kept import kept

        return kept(self._graph, self._folder.layers)

    def packed_bytes(self) -> int | None:
        """Bytes of the constants in the graph that the runtime made of the file.

        Kernels may hold them in another order; their size stays.
        """
        return self._optimised.constant_bytes()

    def _named(self) -> tuple[tuple[Folded, Identity], ...]:
        """The layers, under the names of the float model's where this one was made from it."""
        from gate.backends._onnx_follow import Identity, identify
        from gate.backends._onnx_graph import Graph
        from gate.backends._onnx_modules import as_modules
        from gate.models.onnx_files import inspect_onnx
        from gate.models.onnx_modules import recorded_modules

        if self._of_modules:
            return as_modules(self._folder.layers, recorded_modules(self._source.proto))
        if self._float_path is not None:
            reference = Graph(inspect_onnx(self._float_path).proto, self._float_path.parent)
            return identify(self._folder, self._graph, reference)
        return tuple((layer, Identity(name=layer.name, covers=())) for layer in self._folder.layers)

    @cached_property
    def _graph(self) -> Graph:
        from gate.backends._onnx_graph import Graph

        return Graph(self._source.proto, self._source.path.parent)

    @cached_property
    def _folder(self) -> Folder:
        from gate.backends._onnx_fold import Folder

        return Folder(self._graph)

    @cached_property
    def _optimised(self) -> Graph:
        return _onnx_session.optimised_graph(self._source)

    def _tensor_infos(self, inputs: TensorMap) -> dict[str, TensorInfo]:
        """Shapes and types for inputs of these shapes; those of the last shapes are kept."""
        from gate.backends._onnx_describe import wanted
        from gate.backends._onnx_shapes import probe

        shapes = {name: value.shape for name, value in inputs.items()}
        if self._infos is None or self._infos[0] != shapes:
            names = wanted(self._folder.layers, self._graph)
            self._infos = (shapes, probe(self._source, inputs, names))
        return self._infos[1]

    def _observer(self, inputs: TensorMap) -> Capture:
        """Capture for samples of these shapes, whatever the batch."""
        from gate.backends._onnx_capture import Capture
        from gate.backends._onnx_shapes import byte_sizes

        sample = {name: value.shape[1:] for name, value in inputs.items()}
        if self._capture is None or self._capture[0] != sample:
            seen = self._infos
            if seen is not None and {n: shape[1:] for n, shape in seen[0].items()} == sample:
                infos, batch = seen[1], next(iter(seen[0].values()))[0]
            else:
                infos, batch = self._tensor_infos(inputs), _batch(inputs)
            a_sample = {name: size / max(batch, 1) for name, size in byte_sizes(infos).items()}
            self._capture = (
                sample,
                Capture(self._source, self._session, self._graph, self._folder, a_sample),
            )
        return self._capture[1]

    def _check(self, inputs: TensorMap) -> None:
        if set(inputs) != self._inputs:
            raise BackendError(
                f"{self._source.path}: its inputs are {', '.join(sorted(self._inputs))}; given"
                f" {', '.join(sorted(inputs)) or 'none'}"
            )


class OnnxRuntimeBackend:
    """ONNX files on the CPU execution provider, one operator after the other."""

    name: ClassVar[str] = "onnxruntime"
    runtime: ClassVar[str] = "onnxruntime"
    concurrent: ClassVar[Literal[True]] = True
    formats: ClassVar[frozenset[Format]] = frozenset({Format.ONNX})
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "graph_optimization": {
                "enum": list(_onnx_session.LEVELS),
                "default": "all",
                "description": "Level of graph optimisation; below 'extended' QDQ models run in"
                " floating point.",
            },
        },
    }

    def unavailable(self, target: TargetSpec | None = None) -> str | None:  # noqa: ARG002 - one engine
        """Why this backend cannot run here and how to get it."""
        missing = [name for name in ("onnxruntime", "onnx") if find_spec(name) is None]
        if missing:
            return f"{missing[0]} is not installed: pip install 'quantgate[onnxruntime]'"
        return None

    def environment(self, target: TargetSpec) -> Environment:
        """What can change numbers here; the kernels are those of MLAS."""
        from importlib.metadata import version

        return isa.environment(
            backend=self.name,
            engine="mlas",
            threads=target.threads,
            versions={
                "numpy": version("numpy"),
                "onnxruntime": _onnx_session.runtime_version(),
            },
        )

    @contextmanager
    def open_reference(self, model: LoadedModel, *, target: TargetSpec) -> Iterator[Session]:
        """Open a floating-point ONNX file.

        Raises:
            BackendError: it is none, or the runtime refuses it.
        """
        session = OnnxRuntimeSession(_source(model.format, model.path, target))
        yield transformed(session, reference_transforms(model.spec, "onnx"))

    @contextmanager
    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> Iterator[Session]:
        """Open a quantized ONNX file; its layers bear the names of ``model``'s where they follow.

        Raises:
            BackendError: the runtime refuses the file.
        """
        session = OnnxRuntimeSession(
            _source(artifact.format, artifact.path, target),
            model.path if model.format is Format.ONNX else None,
            of_modules=model.format is not Format.ONNX,
        )
        yield transformed(session, candidate_transforms(artifact, model.spec, "onnx"))


def _source(kind: Format, path: Path | None, target: TargetSpec) -> _onnx_session.Source:
    if kind is not Format.ONNX or path is None:
        raise BackendError(f"ONNX Runtime opens ONNX files, not {kind.value}: convert it first")
    return _onnx_session.Source.of(path, target)


def _batch(inputs: TensorMap) -> int:
    first: Array = next(iter(inputs.values()))
    return int(first.shape[0]) if first.ndim else 1
