"""Which layers of the reference does each layer of the candidate stand for? Pure, and never a guess.

Rules, strongest first:

``name``
    both sides have a layer of that name, and the candidate's claims no more than that;
``fused``
    the candidate's session says which reference layers it covers (``LayerRow.covers``);
``renamed``
    the names differ, and the rest proves it. Of the layers with weights still open, exactly one on
    each side has this kind of operator, number of weights and shapes; or the open layers of both
    sides are of the same kinds in the same order, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gate.core.layer import LayerMatch, LayerRow

BOUNDARY_OPS = re.compile(
    r"(?i)^(quantized)?(de)?quant(ize|izelinear|izeperchannel|ize_per_\w+|stub)?$|^dynamicquantizelinear$|^to$"
)
"""Operators between real and stored values, or two precisions, as torch and ONNX name them: no layers
of their own."""

_DECORATION = re.compile(r"quantized|dynamic|integer|qlinear|fused|relu\d*|tofloat|reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """All candidate layers that were matched, and what is left on both sides."""

    matches: tuple[LayerMatch, ...]
    """In order of execution of the candidate; without errors yet."""
    unmatched_reference: tuple[str, ...]
    unmatched_candidate: tuple[str, ...]


def match_layers(reference: Sequence[LayerRow], candidate: Sequence[LayerRow]) -> Matching:
    """Match the layers of two models.

    A reference layer is given to one candidate layer only, the first that claims it. A candidate
    that covers a layer which the reference does not have, or which is taken, is not matched by
    what is left of its claim.
    """
    names = {row.name for row in reference}
    free = {row.name for row in reference if not boundary(row)}
    found: dict[str, LayerMatch] = {}
    for rule, claims in (("name", _by_name), ("fused", _by_cover)):
        for row in candidate:
            claim = claims(row, names)
            if row.name not in found and claim and free.issuperset(claim):
                found[row.name] = LayerMatch(candidate=row.name, reference=claim, rule=rule)
                free.difference_update(claim)
    for row, partner in _renamed(reference, candidate, free, found):
        found[row.name] = LayerMatch(candidate=row.name, reference=(partner.name,), rule="renamed")
        free.discard(partner.name)
    return Matching(
        matches=tuple(found[row.name] for row in candidate if row.name in found),
        unmatched_reference=tuple(row.name for row in reference if row.name in free),
        unmatched_candidate=tuple(
            row.name for row in candidate if row.name not in found and not boundary(row)
        ),
    )


def boundary(row: LayerRow) -> bool:
    """True for layers that only quantize or dequantize."""
    return not row.computes and BOUNDARY_OPS.match(row.op) is not None


def _by_name(row: LayerRow, names: set[str]) -> tuple[str, ...]:
    own = row.covers in ((), (row.name,)) and row.name in names
    return (row.name,) if own and not boundary(row) else ()


def _by_cover(row: LayerRow, names: set[str]) -> tuple[str, ...]:
    return row.covers if names.issuperset(row.covers) else ()


def _renamed(
    reference: Sequence[LayerRow],
    candidate: Sequence[LayerRow],
    free: set[str],
    found: Mapping[str, LayerMatch],
) -> Iterator[tuple[LayerRow, LayerRow]]:
    """Pairs of open computing layers with weights that cannot be any others."""
    ours = [
        (row, _kind(row))
        for row in candidate
        if row.computes and row.params and row.name not in found and not row.covers
    ]
    theirs = [
        (row, _kind(row)) for row in reference if row.computes and row.params and row.name in free
    ]
    same_order = [kind for _, kind in ours] == [kind for _, kind in theirs]
    for row, kind in ours:
        mine = [one for one, its in ours if its == kind]
        other = [one for one, its in theirs if its == kind]
        if same_order or len(mine) == len(other) == 1:
            yield row, other[mine.index(row)]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a computing layer is, whatever its name."""

    op: str
    params: int
    macs: int
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


def _kind(row: LayerRow) -> _Kind:
    return _Kind(
        op=_DECORATION.sub("", row.op.lower()).strip("_"),
        params=row.params,
        macs=row.macs,
        inputs=tuple(info.shape for info in row.inputs),
        outputs=tuple(info.shape for info in row.outputs),
    )
