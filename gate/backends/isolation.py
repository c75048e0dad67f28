"""Layers of a candidate, cut out to be run alone on the reference's inputs to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from gate.core.tensors import Array, TensorMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """Where a value that a layer reads comes from: exactly one of the two is set."""

    layer: str | None = None
    """Name of the candidate's layer (``LayerRow.name``) whose output it is."""
    input: str | None = None
    """Name of the model input that it is."""


class Piece(Protocol):
    """One layer by itself, from floating-point operands to its output."""

    operands: tuple[Operand, ...]
    """In the order in which :meth:`run` takes them."""

    def run(self, operands: Sequence[Array]) -> Array:
        """Quantize the operands as the candidate does, run the layer, and return its output,
        dequantized to float32 where quantized.

        Raises:
            BackendError: the runtime refuses the layer by itself, or fails on these operands.
        """
        ...

    def save(self, folder: Path, operands: Sequence[Array]) -> Saved:
        """Write the layer as a model file that runs without the gate.

        Raises:
            BackendError: it cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A model file of one layer, and how a script runs it."""

    file: str
    """Name of the file in the folder."""
    packages: tuple[str, ...]
    """What the script needs."""
    runs: str
    """Python statements that load the file beside the script and set ``got`` to the layer's output
    (float32) from the list ``inputs``; ``here`` is the folder, ``np`` is NumPy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """All layers of a candidate, cut out for inputs of certain shapes."""

    pieces: Mapping[str, Piece | str]
    """Layer name -> the piece, or why the layer cannot be run alone."""
    inside: Callable[[TensorMap], TensorMap] = lambda inputs: inputs
    """From the spec's inputs to those that ``Operand.input`` names."""


@runtime_checkable
class IsolatingSession(Protocol):
    """A session that can cut its model into layers."""

    def isolate(self, inputs: TensorMap) -> Isolation:
        """Cut every layer out; ``inputs`` are a few samples to look at shapes and ranges with."""
        ...
