"""Which tensors of the reference enter a layer of the candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.backends.isolation import Operand, Piece
from gate.core.layer import LayerMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One operand: an output of the reference, or an input of the model."""

    capture: str | None = None
    """Name under which the reference captures it."""
    match: int = -1
    """Of the candidate layer that it stands for the output of."""
    input: str | None = None


def wires(
    piece: Piece, matches: Sequence[LayerMatch], captures: Mapping[str, str]
) -> tuple[Wire, ...] | str:
    """The operands of a piece, or why one of them is not to be had from the reference.

    Args:
        piece: a layer that was cut out of the candidate.
        matches: all matches of the candidate.
        captures: reference layer -> name under which its output is captured.
    """
    by_name = {match.candidate: index for index, match in enumerate(matches)}
    found = []
    for operand in piece.operands:
        wire = _wire(operand, matches, by_name, captures)
        if isinstance(wire, str):
            return wire
        found.append(wire)
    return tuple(found)


def _wire(
    operand: Operand,
    matches: Sequence[LayerMatch],
    by_name: Mapping[str, int],
    captures: Mapping[str, str],
) -> Wire | str:
    if operand.layer is None:
        return Wire(input=operand.input)
    index = by_name.get(operand.layer)
    if index is None or not matches[index].reference:
        return f"its input is the output of '{operand.layer}', which no reference layer stands for"
    source = matches[index].reference[-1]
    if source not in captures:
        return f"its input is the output of '{source}', which the reference does not show"
    return Wire(capture=captures[source], match=index)
