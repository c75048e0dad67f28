"""Protocols of backends and of the sessions they open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.environment import Environment
from gate.core.layer import LayerRow
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


class BackendError(Exception):
    """A model that a backend cannot open or run; the message is for the user."""


class Session(Protocol):
    """An opened model, ready to run. Tensors are NumPy arrays by name; the first axis is the batch."""

    def run(self, inputs: TensorMap) -> TensorMap:
        """Run one batch; outputs in the model's order, dequantized to float32 where quantized."""
        ...

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """Describe every layer in order of execution, with the shapes seen when running ``inputs``
        (their batch axis included)."""
        ...

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """Run one batch and stream the outputs of the layers ``names`` (``LayerRow.capture``) as
        float32, dequantized where quantized, in order of execution.

        No more than a bounded part of the activations is held at a time; a name that the run did
        not produce is simply absent, which the caller must notice.
        """
        ...

    def packed_bytes(self) -> int | None:
        """Bytes of the weights as the runtime holds them; None where it does not tell."""
        ...


@runtime_checkable
class MeasuringSession(Protocol):
    """A session that can tell what its activations take."""

    def activation_bytes(self) -> int:
        """Most bytes of activations alive at one layer, for one sample."""
        ...


@runtime_checkable
class LayoutSession(Protocol):
    """A session that tells the layout of its layers' outputs; one that does not has NCHW."""

    @property
    def channels_last(self) -> bool:
        """Whether the layers give NHWC."""
        ...


@runtime_checkable
class ConcurrentBackend(Protocol):
    """A backend whose sessions may run and be observed in several threads at once, since nothing of
    theirs is a setting of the whole process."""

    concurrent: ClassVar[Literal[True]]


@runtime_checkable
class ImportingBackend(Protocol):
    """A backend that says what it imports to open a model, so that processes which wait for one can
    have done so."""

    runtime: ClassVar[str]
    """Name of that module."""


class Backend(Protocol):
    """A runtime. Importing its module imports no framework."""

    name: ClassVar[str]
    formats: ClassVar[frozenset[Format]]
    options_schema: ClassVar[Mapping[str, JsonValue]]
    """JSON Schema (an object schema, closed) of the backend's own options in ``targets``."""

    def unavailable(self, target: TargetSpec | None = None) -> str | None:
        """Why this backend (with the engine of ``target``) cannot run here and how to get it."""
        ...

    def environment(self, target: TargetSpec) -> Environment:
        """What can change numbers here."""
        ...

    def open_reference(
        self, model: LoadedModel, *, target: TargetSpec
    ) -> AbstractContextManager[Session]:
        """Open a floating-point model."""
        ...

    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> AbstractContextManager[Session]:
        """Open what a quantizer wrote; ``model`` is the float model it was made from.

        Raises:
            BackendError: the runtime refuses the file.
        """
        ...
