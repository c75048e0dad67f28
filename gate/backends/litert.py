"""Backend: LiteRT (TensorFlow Lite) on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from gate.backends import _litert_session, isa
from gate.backends.base import BackendError
from gate.backends.transform import transformed
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.environment import Environment
from gate.core.layer import KeptFloat, LayerRow
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.core.transform import Transforms, candidate_transforms, reference_transforms
from gate.models.base import ModelError
from gate.models.tflite import litert_missing

if TYPE_CHECKING:
    from pathlib import Path

    from gate.backends._litert_capture import Capture
    from gate.backends._litert_layers import Layer, Layers
    from gate.backends.base import Session
    from gate.backends.isolation import Isolation
    from gate.models.base import LoadedModel


class LiteRtSession:
    """One opened file.

    Args:
        source: the file.
        float_path: the float file that it was made from, whose layer names it then bears.
        raw: outputs that are given as they are stored; a declared transform makes them real.
    """

    channels_last: ClassVar[bool] = True

    def __init__(
        self,
        source: _litert_session.Source,
        float_path: Path | None = None,
        raw: frozenset[str] = frozenset(),
    ) -> None:
        self._source = source
        self._float_path = float_path
        self._raw = raw
        self._model = _litert_session.Model(source)

    def run(self, inputs: TensorMap) -> TensorMap:
        """See ``Session.run``; real inputs are quantized with the file's own scale where it stores
        integers."""
        import numpy as np

        ports = self._model.outputs
        values = self._model.stored(inputs, [port.index for port in ports])
        result = {}
        for port, value in zip(ports, values, strict=True):
            if port.scale is not None and port.name not in self._raw:
                scale, zero_point = (
                    np.asarray(port.scale, np.float32),
                    np.asarray(port.zero_point, np.float32),
                )
                value = _litert_session.dequantized(value, scale, zero_point)  # noqa: PLW2901
            half = value.dtype == np.float16
            result[port.name] = value.astype(np.float32) if half else value
        return result

    def kept_float(self) -> tuple[KeptFloat, ...]:
        """See ``TellingSession.kept_float``."""
        from gate.backends._litert_kept import kept

        return kept(self._layers.graph)

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """See ``Session.layers``; unpacked constants are folded into the layers that read them."""
        from gate.backends import _litert_layers as describe

        shapes = {
            port.index: inputs[port.name].shape
            for port in self._model.inputs
            if port.name in inputs
        }
        wanted = [out for layer in self._layers.all for out in layer.operator.outputs]
        for tensor, value in self._capture.stored(inputs, wanted):
            shapes[tensor] = value.shape
        facts = describe.Facts(
            layers=self._layers, shapes=shapes, batch=len(next(iter(inputs.values())))
        )
        return tuple(describe.row(layer, facts, name=name) for layer, name in self._named)

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """See ``Session.capture``; a group of outputs that exceeds the budget costs another run."""
        wanted = set(names)
        places = {layer.output: name for layer, name in self._named if name in wanted}
        for tensor, value in self._capture.stored(inputs, list(places)):
            yield places[tensor], self._capture.real(tensor, value)

    def isolate(self, inputs: TensorMap) -> Isolation:  # noqa: ARG002 - a piece takes any batch
        """See ``IsolatingSession.isolate``."""
        from gate.backends._litert_isolate import Cutter
        from gate.backends.isolation import Isolation

        cutter = Cutter(
            source=self._source,
            layers=self._layers,
            names={layer.operator.index: name for layer, name in self._named},
            inputs={port.index: port.name for port in self._model.inputs},
            real=self._capture.real,
        )
        return Isolation(pieces=cutter.pieces())

    def packed_bytes(self) -> int | None:
        """Bytes of the constants in the file, which the runtime maps; XNNPACK packs a copy."""
        return sum(one.buffer_bytes for one in self._layers.graph.tensors if one.constant)

    def activation_bytes(self) -> int:
        """See ``MeasuringSession.activation_bytes``."""
        from gate.backends._litert_memory import activation_bytes

        return activation_bytes(self._layers)

    @cached_property
    def _layers(self) -> Layers:
        return _read(self._source.path)

    @cached_property
    def _named(self) -> tuple[tuple[Layer, str], ...]:
        """The layers, under the names of the float file's where this one was made from it."""
        from gate.backends._litert_follow import followed

        known: dict[int, str] = {}
        if self._float_path is not None and self._float_path != self._source.path:
            known = followed(self._layers, _read(self._float_path))
        taken = set(known.values())
        named = []
        for layer in self._layers.all:
            name = known.get(layer.operator.index)
            if name is None:
                name = f"{layer.name} ({layer.op})" if layer.name in taken else layer.name
            named.append((layer, name))
        return tuple(named)

    @cached_property
    def _capture(self) -> Capture:
        from gate.backends._litert_capture import Capture

        names = {port.index: port.name for port in self._model.inputs}
        return Capture(self._source, self._layers.graph, names)


class LiteRtBackend:
    """LiteRT files on the CPU, one operator (or delegated group of them) after the other."""

    name: ClassVar[str] = "litert"
    runtime: ClassVar[str] = "ai_edge_litert.interpreter"
    formats: ClassVar[frozenset[Format]] = frozenset({Format.TFLITE})
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kernels": {
                "enum": list(_litert_session.KERNELS),
                "default": "xnnpack",
                "description": "xnnpack: the delegate that is the runtime's default; builtin: its own"
                " optimised kernels; reference: the plain ones that others are checked against.",
            },
        },
    }

    def unavailable(self, target: TargetSpec | None = None) -> str | None:  # noqa: ARG002 - one package
        """Why this backend cannot run here and how to get it."""
        return litert_missing()

    def environment(self, target: TargetSpec) -> Environment:
        """What can change numbers here."""
        from importlib.metadata import version

        return isa.environment(
            backend=self.name,
            engine=str(target.options.get("kernels", "xnnpack")),
            threads=target.threads,
            versions={"ai-edge-litert": version("ai-edge-litert"), "numpy": version("numpy")},
        )

    @contextmanager
    def open_reference(self, model: LoadedModel, *, target: TargetSpec) -> Iterator[Session]:
        """Open a floating-point file.

        Raises:
            BackendError: it is none, or the runtime refuses it.
        """
        yield _opened(model.format, model.path, target, reference_transforms(model.spec, "tflite"))

    @contextmanager
    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> Iterator[Session]:
        """Open a quantized file; its layers bear the names of ``model``'s where they follow.

        Raises:
            BackendError: the runtime refuses the file.
        """
        transforms = candidate_transforms(artifact, model.spec, "tflite")
        float_path = model.path if model.format is Format.TFLITE else None
        yield _opened(artifact.format, artifact.path, target, transforms, float_path)


def _opened(
    kind: Format,
    path: Path | None,
    target: TargetSpec,
    transforms: Transforms,
    float_path: Path | None = None,
) -> Session:
    if kind is not Format.TFLITE or path is None:
        raise BackendError(f"LiteRT opens .tflite files, not {kind.value}: convert it first")
    raw = frozenset(n for n, t in transforms.outputs.items() if t.scale is not None)
    session = LiteRtSession(_litert_session.Source.of(path, target), float_path, raw)
    return transformed(session, transforms)


def _read(path: Path) -> Layers:
    from gate.backends._litert_layers import Layers
    from gate.models.tflite_graph import read_tflite

    try:
        return Layers(read_tflite(path))
    except ModelError as error:
        raise BackendError(str(error)) from error
