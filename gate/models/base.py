"""Protocol of model sources, and the loaded model that the later stations work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec


class ModelError(Exception):
    """A model that cannot be loaded, converted or trusted; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A floating-point model, in memory or on disk.

    ``module`` is an ``nn.Module`` in evaluation mode for ``torch-module`` and a
    ``torch.export.ExportedProgram`` for ``exported``; ``path`` is the file for ``onnx`` (and for
    ``exported`` where it came from one).
    """

    format: Format
    sha256: str
    """Content identity: of the file, or of the structure and state of a module."""
    size_bytes: int
    """Bytes of the file, or of the module's parameters and buffers."""
    spec: ModelSpec
    module: Any = None
    path: Path | None = None


class ModelSource(Protocol):
    """Loads a reference. Importing the module of a source imports no framework."""

    name: ClassVar[str]
    produces: ClassVar[Format]
    options_schema: ClassVar[Mapping[str, JsonValue]]
    """JSON Schema (an object schema, closed) of what stands beside ``source:`` in a spec."""

    def unavailable(self) -> str | None:
        """Why this source cannot work here and how to get it; None where it can."""
        ...

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:
        """Build or open the reference.

        Raises:
            ModelError: missing file, wrong digest, refused format, untrusted entry.
        """
        ...
