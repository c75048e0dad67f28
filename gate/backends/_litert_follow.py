"""Which layer of the float file is which of the quantized one? Proven by names and kinds, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gate.backends._litert_layers import Layer, Layers

Kind = tuple[object, ...]


def followed(candidate: Layers, reference: Layers) -> dict[int, str]:
    """Operator of the candidate -> name of the reference's layer that it is.

    Layers of one name and kind are the same one. Between two such, or where there is none, layers are
    paired where both sides have the same kinds in the same order: a converter keeps the order of
    what it does not remove.
    """
    ours = [layer for layer in candidate.all if not layer.boundary]
    theirs = [layer for layer in reference.all if not layer.boundary]
    kinds = (
        [_kind(layer, candidate) for layer in ours],
        [_kind(layer, reference) for layer in theirs],
    )
    found: dict[int, str] = {}
    start = 0, 0
    for end in (*_anchors(ours, theirs, kinds), (len(ours), len(theirs))):
        between = [slice(a, b) for a, b in zip(start, end, strict=True)]
        if kinds[0][between[0]] == kinds[1][between[1]]:
            for mine, other in zip(ours[between[0]], theirs[between[1]], strict=True):
                found[mine.operator.index] = other.name
        if end[0] < len(ours):
            found[ours[end[0]].operator.index] = theirs[end[1]].name
        start = end[0] + 1, end[1] + 1
    return found


def _anchors(
    ours: Sequence[Layer], theirs: Sequence[Layer], kinds: tuple[list[Kind], list[Kind]]
) -> list[tuple[int, int]]:
    """Places of the layers that both sides have under one name, of one kind, in one order."""
    place = {layer.name: index for index, layer in enumerate(theirs)}
    found: list[tuple[int, int]] = []
    last = -1
    for index, layer in enumerate(ours):
        other = place.get(layer.name, -1)
        if other > last and kinds[0][index] == kinds[1][other]:
            found.append((index, other))
            last = other
    return found


def _kind(layer: Layer, layers: Layers) -> Kind:
    tensors = layers.graph.tensors
    roots = [root for w in layer.weights if (root := layers.root(w)) is not None]
    return (
        layer.op,
        tensors[layer.output].shape,
        tuple(prod(tensors[root].shape) for root in roots),
        len(layer.data),
    )
