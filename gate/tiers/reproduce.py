"""A minimal reproduction: one layer as a model file, what enters it, what should come out, what does.

The folder runs by itself, with NumPy and the runtime and without the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gate.backends.base import BackendError, Session
from gate.backends.isolation import IsolatingSession, Saved
from gate.core.layer import LayerMatch, LayerRow
from gate.core.tensors import Array, TensorMap
from gate.tiers.layout import Layout, choose
from gate.tiers.match import match_layers
from gate.tiers.wired import Wire, wires

SCRIPT = "repro.py"


class ReproduceError(Exception):
    """A layer that cannot be put into a folder of its own; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What was written."""

    folder: Path
    layer: str
    sqnr_db: float
    """Of the layer alone, over the samples in the folder."""


def reproduce(
    reference: Session,
    candidate: Session,
    *,
    sample: TensorMap,
    layer: str,
    folder: Path,
    about: Sequence[str] = (),
) -> Reproduction:
    """Write one layer of the candidate, with its tensors for ``sample``, into ``folder``.

    ``input_0.npy`` ... are the reference's tensors that enter the layer, ``expected.npy`` is the
    reference's output, ``got.npy`` the candidate layer's; ``repro.py`` loads the layer, runs it and
    prints the error.

    Args:
        reference: the floating-point model.
        candidate: the quantized model.
        sample: a few samples.
        layer: name of the candidate's layer.
        folder: is made where it does not exist.
        about: lines for the folder's README.

    Raises:
        ReproduceError: the layer is not there, not matched, or cannot be run alone.
    """
    rows, other = reference.layers(sample), candidate.layers(sample)
    matches = match_layers(rows, other).matches
    index = next((i for i, match in enumerate(matches) if match.candidate == layer), None)
    if index is None or not matches[index].reference:
        raise ReproduceError(f"'{layer}' is no layer of the candidate that has a counterpart")
    if not isinstance(candidate, IsolatingSession):
        raise ReproduceError("the backend cannot run single layers")
    try:
        isolation = candidate.isolate(sample)
        piece = isolation.pieces.get(layer, "the backend did not cut it out")
        captures = {row.name: row.capture for row in rows if row.capture is not None}
        needed = piece if isinstance(piece, str) else wires(piece, matches, captures)
        if isinstance(piece, str) or isinstance(needed, str):
            raise ReproduceError(f"'{layer}' cannot be run alone: {needed}")
        tensors = _Tensors(reference, candidate, sample, matches=matches, rows=rows, other=other)
        inputs = isolation.inside(sample)
        operands = [tensors.operand(wire, inputs) for wire in needed]
        got = piece.run(operands)
        expected = tensors.expected(index, got.shape)
        folder.mkdir(parents=True, exist_ok=True)
        saved = piece.save(folder, operands)
    except (BackendError, KeyError, ValueError) as error:
        raise ReproduceError(f"'{layer}' cannot be run alone: {error}") from error
    _write(
        folder,
        layer,
        operands=operands,
        expected=expected,
        got=got,
        saved=saved,
        about=about,
    )
    return Reproduction(folder=folder, layer=layer, sqnr_db=_sqnr(expected, got))


class _Tensors:
    """Activations of both models for one sample batch, fetched when they are asked for."""

    def __init__(
        self,
        reference: Session,
        candidate: Session,
        sample: TensorMap,
        *,
        matches: Sequence[LayerMatch],
        rows: Sequence[LayerRow],
        other: Sequence[LayerRow],
    ) -> None:
        self._sessions = (reference, candidate)
        self._sample = sample
        self._matches = matches
        self._captures: tuple[Mapping[str, str | None], ...] = (
            {row.name: row.capture for row in rows},
            {row.name: row.capture for row in other},
        )

    def operand(self, wire: Wire, inputs: TensorMap) -> Array:
        """What enters the layer by one wire, in the candidate's layout."""
        if wire.capture is None:
            return inputs[str(wire.input)]
        layout, x, y = self._pair(wire.match)
        return layout.back(x, y.shape)

    def expected(self, index: int, shape: tuple[int, ...]) -> Array:
        """The reference's output of a match, in the candidate's layout."""
        layout, x, y = self._pair(index)
        found = layout.back(x, y.shape)
        if found.shape != shape:
            raise ValueError(f"it gives shape {list(shape)}, the reference {list(found.shape)}")
        return found

    def _pair(self, index: int) -> tuple[Layout, Array, Array]:
        match = self._matches[index]
        x = self._fetch(0, match.reference[-1])
        y = self._fetch(1, match.candidate)
        layout, _ = choose(x, y)
        if layout is None:
            raise ValueError(f"{list(y.shape)} is no layout of the reference's {list(x.shape)}")
        return layout, x, y

    def _fetch(self, side: int, layer: str) -> Array:
        capture = self._captures[side].get(layer)
        if capture is None:
            raise ValueError(f"the output of '{layer}' is not shown")
        return dict(self._sessions[side].capture(self._sample, [capture]))[capture]


def _write(
    folder: Path,
    layer: str,
    *,
    operands: Sequence[Array],
    expected: Array,
    got: Array,
    saved: Saved,
    about: Sequence[str],
) -> None:
    for number, operand in enumerate(operands):
        np.save(folder / f"input_{number}.npy", operand)
    np.save(folder / "expected.npy", expected)
    np.save(folder / "got.npy", got)
    # The name comes from the model: in a comment its repr stays on one line, quotes end nothing there.
    script = f"""# Runs layer {layer!r} alone; needs {" and ".join(saved.packages)}, and nothing else.
from pathlib import Path
import numpy as np
here = Path(__file__).resolve().parent
inputs = [np.load(here / f"input_{{i}}.npy") for i in range({len(operands)})]
expected, then = np.load(here / "expected.npy"), np.load(here / "got.npy")
{saved.runs}
noise = np.linalg.norm((got - expected).astype(np.float64))
sqnr = 20 * np.log10(np.linalg.norm(expected.astype(np.float64)) / noise) if noise else np.inf
print(f"SQNR {{sqnr:.2f}} dB, largest error {{np.abs(got - expected).max():.6g}}")
print(f"largest difference from got.npy {{np.abs(got - then).max():.6g}}")
"""
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    lines = [
        f"# Layer `{layer}` by itself",
        "",
        *(f"- {line}" for line in about),
        f"- alone on the reference's inputs it has an SQNR of {_sqnr(expected, got):.2f} dB",
        f"- `python {SCRIPT}` runs `{saved.file}` on `input_*.npy` and compares",
        "- `expected.npy` is the floating-point model's output, `got.npy` what the layer gave here",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _sqnr(expected: Array, got: Array) -> float:
    signal = float(np.linalg.norm(expected.astype(np.float64)))
    noise = float(np.linalg.norm(got.astype(np.float64) - expected))
    if noise == 0.0:
        return float("inf")
    return 20.0 * float(np.log10(signal / noise)) if signal > 0.0 else float("-inf")
