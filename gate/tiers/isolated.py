"""Each candidate layer run alone on the reference's own inputs to it: errors that are its own.

A layer's operands are outputs of other candidate layers or inputs of the model. Each such layer was
matched with layers of the reference, and the last of those gave the tensor that is fed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gate.backends.base import BackendError, Session
from gate.backends.isolation import IsolatingSession, Isolation, Piece
from gate.core.layer import ErrorSums, LayerMatch
from gate.core.tensors import Array, TensorMap
from gate.metrics.accumulate import ErrorAccumulator
from gate.tiers.layout import Layout
from gate.tiers.tensors import add_errors, channel_axis
from gate.tiers.wired import Wire, wires

_NAMES_SHOWN = 5


class Isolated:
    """Error sums of the matches whose layers can be run alone.

    Args:
        candidate: the candidate's session.
        sample: the inputs that the layer tables describe.
        matches: as they were matched, errors aside.
        captures: reference layer -> name under which its output is captured.
        channels_last: whether the reference's layers give NHWC.
    """

    def __init__(
        self,
        candidate: Session,
        sample: TensorMap,
        matches: Sequence[LayerMatch],
        captures: Mapping[str, str],
        *,
        channels_last: bool = False,
    ) -> None:
        self._channels_last = channels_last
        self._why: dict[int, str] = {}
        self._pieces: dict[int, Piece] = {}
        self._wires: dict[int, tuple[Wire, ...]] = {}
        self._errors: dict[int, ErrorAccumulator] = {}
        self._matches = matches
        self._inputs: TensorMap = {}
        self._isolation = _isolation(candidate, sample)
        for index, match in enumerate(matches):
            piece = self._piece(match.candidate)
            found = piece if isinstance(piece, str) else wires(piece, matches, captures)
            if isinstance(piece, str) or isinstance(found, str):
                self._why[index] = str(found)
            else:
                self._pieces[index], self._wires[index] = piece, found

    def _piece(self, name: str) -> Piece | str:
        if isinstance(self._isolation, str):
            return self._isolation
        return self._isolation.pieces.get(name, "the backend did not cut it out")

    def begin(self, inputs: TensorMap) -> None:
        """Take the inputs of the batch that follows."""
        if not isinstance(self._isolation, str):
            self._inputs = self._isolation.inside(inputs)

    def needs(self, index: int) -> tuple[str, ...]:
        """Names of the reference's captures that a match's operands are, without doubles."""
        own = self._wires.get(index, ()) if index not in self._why else ()
        return tuple(dict.fromkeys(wire.capture for wire in own if wire.capture is not None))

    def add(
        self,
        index: int,
        x: Array,
        taken: Mapping[str, Array],
        layout: Layout,
        layout_of: Mapping[int, tuple[Layout, tuple[int, ...]]],
    ) -> None:
        """Run one layer alone and add its errors.

        Args:
            index: of the match.
            x: the reference's output.
            taken: capture -> tensor, of :meth:`needs`.
            layout: of the candidate's output beside ``x``.
            layout_of: match -> layout and the candidate's shape, of those compared so far.
        """
        piece = self._pieces.get(index)
        if piece is None or index in self._why:
            return
        try:
            operands = [self._operand(wire, taken, layout_of) for wire in self._wires[index]]
            y = layout.apply(piece.run(operands), x.shape)
        except (BackendError, KeyError, ValueError) as error:
            self._why[index] = f"run alone it fails: {error}"
            return
        if y.shape != x.shape:
            self._why[index] = (
                f"run alone it gives shape {list(y.shape)}, not the reference's {list(x.shape)}"
            )
            return
        if index not in self._errors:
            self._errors[index] = ErrorAccumulator(channel_axis(x.shape, last=self._channels_last))
        add_errors(self._errors[index], x, y)

    def sums(self, index: int) -> ErrorSums | None:
        """Errors of one match; None where it was not run alone in every batch."""
        if index in self._why or index not in self._errors:
            return None
        return self._errors[index].sums()

    def why_not(self, index: int) -> str:
        """Why a match has no isolated errors; empty where it has."""
        if index in self._why:
            return self._why[index]
        return "" if index in self._errors else "its output was not compared"

    def notes(self, named: Iterable[int]) -> Iterator[str]:
        """One line for all layers; each one's own reason is kept with its match."""
        found = [(self._matches[i].candidate, self._why[i]) for i in named if self._why.get(i)]
        if found:
            reasons = len({why for _, why in found})
            others = f" (the first of {reasons} reasons)" if reasons > 1 else ""
            layers = [layer for layer, _ in found]
            more = len(layers) - _NAMES_SHOWN
            shown = ", ".join(layers[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
            yield f"layers not run alone: {shown}: {found[0][1]}{others}"

    def _operand(
        self,
        wire: Wire,
        taken: Mapping[str, Array],
        layout_of: Mapping[int, tuple[Layout, tuple[int, ...]]],
    ) -> Array:
        if wire.capture is None:
            return self._inputs[str(wire.input)]
        value = taken[wire.capture]
        if wire.match in layout_of:
            layout, shape = layout_of[wire.match]
            value = layout.back(value, (value.shape[0], *shape[1:]))
        return value


def _isolation(candidate: Session, sample: TensorMap) -> Isolation | str:
    if not isinstance(candidate, IsolatingSession):
        return "the backend cannot run single layers"
    try:
        return candidate.isolate(sample)
    except BackendError as error:
        return str(error)
