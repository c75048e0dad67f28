"""Mixtures of float and integer layers as measured: their front of bytes and accuracy, and the steps
that lead from one to the next.

What a layer costs in float is more than its weights: nodes that quantize around it, and their scales,
go or come with it, so that a small layer may cost less than nothing. Only measured files tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Mixed = tuple[str, ...]
"""Layers in float, in order of execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What the one pass tells of a layer."""

    noise: float | None
    """Power of its own error relative to its output's; None where it could not be run alone."""
    extra_bytes: int
    """Bytes that its weights take more in float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One mixture, measured."""

    kept: Mixed
    size_bytes: int
    sqnr_db: float
    """Of the worst output."""
    misses: str
    """What of the demanded accuracy it does not hold; empty where it holds all."""

    @property
    def rank(self) -> tuple[float, int]:
        """Better is larger: accuracy, then fewer bytes."""
        return self.sqnr_db, -self.size_bytes


Known = Mapping[frozenset[str], Point | None]
"""Layers in float -> what was measured; None for a mixture that cannot be made."""


def front(points: Iterable[Point]) -> list[Point]:
    """What no other one beats in both bytes and SQNR, by bytes."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.size_bytes, -p.sqnr_db)):
        if not kept or point.sqnr_db > kept[-1].sqnr_db:
            kept.append(point)
    return kept


def measured_bytes(known: Known) -> dict[str, int]:
    """Layer -> the fewest bytes by which two mixtures differ that differ in this layer alone."""
    found: dict[str, int] = {}
    for kept, point in known.items():
        for name in kept:
            fewer = known.get(kept - {name})
            if point is not None and fewer is not None:
                cost = point.size_bytes - fewer.size_bytes
                found[name] = min(cost, found.get(name, cost))
    return found


def steps(
    point: Point,
    layers: Mapping[str, Layer],
    known: Known,
    *,
    limit_bytes: int | None,
    exchange: bool,
) -> list[Mixed]:
    """Mixtures with a layer more or a layer less, those first that ought to have the fewest bytes.

    Args:
        point: where the steps begin.
        layers: all that can be in float.
        known: what was measured; a step that it puts over the limit is left out.
        limit_bytes: of the file; None for any.
        exchange: with one layer in the place of another, too.
    """
    costs = measured_bytes(known)

    def gains(name: str) -> int:
        cost = costs.get(name, layers[name].extra_bytes)
        return -cost if name in point.kept else cost

    outside = [name for name in layers if name not in point.kept]
    moves: list[Mixed] = [(name,) for name in layers]
    if exchange:
        moves += [(more, less) for more in outside for less in point.kept]
    sized = [(point.size_bytes + sum(map(gains, moved)), moved) for moved in moves]
    within = [
        (size, moved)
        for size, moved in sized
        if limit_bytes is None or size <= limit_bytes or not costs.keys() >= set(moved)
    ]
    return [
        tuple(name for name in layers if (name in point.kept) != (name in moved))
        for _, moved in sorted(within, key=lambda step: step[0])
    ]
