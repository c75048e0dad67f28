"""Which layers cost the most, and the fewest that must stay in float: a search over candidates.

Pure but for the clock: what a candidate gives is measured by the function that is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SINGLES_SHARE = 0.4
"""Of the budget, for layers one by one."""
RANKING_SHARE = 0.6
"""Of the budget, for those and for pairs: what is left is for finding the smallest set."""
JOINT_SHARE = 0.02
"""Of the whole noise power, that a pair must take away beyond what its layers do one by one to be
taken together: a tensor between two layers is in integers until both are in float."""

Kept = tuple[str, ...]
"""Layers in float, in the order in which they were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What one candidate gives on the samples of the search."""

    sqnr_db: float
    """Of the worst output."""
    passes: bool
    """Whether the numerical tolerances hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One layer taken back to float."""

    layer: str
    gain_db: float | None
    """SQNR of the output gained; None where the budget ended before it was measured."""
    isolated_sqnr_db: float | None
    """Of the layer alone: the order in which layers are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The end of a search."""

    start: Quality
    """With every layer quantized as the spec says."""
    ranking: tuple[Gain, ...]
    """Largest gain first; those that were not measured after those that gain, and before the rest."""
    kept: Kept | None
    """The smallest set found with which the tolerances hold; None where none was found."""
    best: Quality
    """With ``kept``, or with the largest set tried."""
    out_of_time: bool
    tried: int
    """Candidates made."""
    joint: tuple[tuple[str, str, float], ...] = ()
    """Pairs of layers that gain (in dB) only together."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Layer -> why no candidate could be made with it in float."""


class RefusedError(Exception):
    """No candidate can be made with these layers in float; the message says why."""


class Search:
    """Ranks layers, then finds a small set.

    Args:
        measure: makes a candidate with these layers in float and measures it; raises RefusedError.
        layers: layers that can be kept in float, in order of execution -> isolated SQNR in dB, or
            None where unknown.
        budget_seconds: wall time for all of it.
        say: told what is being done.
    """

    def __init__(
        self,
        measure: Callable[[Kept], Quality],
        layers: Mapping[str, float | None],
        *,
        budget_seconds: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._layers = layers
        self._say = say
        self._clock = clock
        self._started = clock()
        self._budget = budget_seconds
        self._seen: dict[frozenset[str], Quality] = {}
        self._refused: dict[str, str] = {}
        self._longest = 0.0

    def run(self) -> Found:
        """Rank, grow, shrink.

        Raises:
            RefusedError: the candidate as it is cannot be measured.
        """
        start = self._quality(())
        ranking = self._rank(start)
        joint = () if start.passes else self._pairs(start, ranking)
        kept = () if start.passes else self._grow(_order(ranking, joint))
        if kept:
            kept = self._shrink(kept, ranking)
        best = max(self._seen.values(), key=lambda quality: quality.sqnr_db)
        return Found(
            start=start,
            ranking=tuple(ranking),
            kept=kept,
            best=self._seen[frozenset(kept)] if kept is not None else best,
            out_of_time=not self._time(1.0),
            tried=len(self._seen),
            joint=joint,
            refused=self._refused,
        )

    def _rank(self, start: Quality) -> list[Gain]:
        known = sorted(self._layers, key=self._alone)
        gains: list[Gain] = []
        for place, layer in enumerate(known):
            gain: float | None = None
            if self._time(SINGLES_SHARE):
                self._say(f"{place + 1}/{len(known)} {layer} in float")
                try:
                    gain = self._quality((layer,)).sqnr_db - start.sqnr_db
                except RefusedError as error:
                    self._refused[layer] = str(error)
                    continue
            gains.append(Gain(layer=layer, gain_db=gain, isolated_sqnr_db=self._layers[layer]))
        # Stable: those that were not measured stay in order of their isolated errors, before those
        # that are known to gain nothing.
        return sorted(gains, key=lambda g: -(g.gain_db if g.gain_db is not None else 0.0))

    def _pairs(self, start: Quality, ranking: Sequence[Gain]) -> tuple[tuple[str, str, float], ...]:
        """Neighbours that gain more together than one by one, the worst by themselves first."""
        single = {g.layer: max(_removed(g.gain_db or 0.0), 0.0) for g in ranking}
        inside = [layer for layer in self._layers if layer in single]
        found = []
        for pair in sorted(pairwise(inside), key=lambda two: min(map(self._alone, two))):
            if not self._time(RANKING_SHARE):
                break
            self._say(f"{' and '.join(pair)} in float")
            try:
                gain = self._quality(pair).sqnr_db - start.sqnr_db
            except RefusedError:
                continue  # nothing else is left: too few layers for pairs
            if _removed(gain) > single[pair[0]] + single[pair[1]] + JOINT_SHARE:
                found.append((*pair, gain))
        return tuple(sorted(found, key=lambda one: -one[2]))

    def _alone(self, layer: str) -> tuple[bool, float]:
        """Sorts the layers that are worst by themselves first, those of unknown errors last."""
        value = self._layers[layer]
        return value is None, value if value is not None else 0.0

    def _grow(self, order: Sequence[str]) -> Kept | None:
        """The shortest beginning of ``order`` that passes, by doubling and halving."""
        low, high, size = 0, len(order) + 1, 1
        while low < len(order) and high > len(order) and self._time(1.0):
            if self._enough(order, size):
                high = size
            else:
                low, size = size, min(2 * size, len(order))
        while high - low > 1 and high <= len(order) and self._time(1.0):
            middle = (low + high) // 2
            if self._enough(order, middle):
                high = middle
            else:
                low = middle
        kept = frozenset(order[:high])
        return tuple(order[:high]) if kept in self._seen and self._seen[kept].passes else None

    def _enough(self, order: Sequence[str], size: int) -> bool:
        """Whether so many pass; so many that nothing is left to quantize are more than enough."""
        self._say(f"the {size} most sensitive layers in float")
        try:
            return self._quality(tuple(order[:size])).passes
        except RefusedError as error:
            self._refused[f"the {size} most sensitive layers"] = str(error)
            return True

    def _shrink(self, kept: Kept, ranking: Sequence[Gain]) -> Kept:
        """Leave out, from the least sensitive on, every layer that is not needed."""
        for gain in reversed([gain for gain in ranking if gain.layer in kept]):
            if len(kept) == 1 or not self._time(1.0):
                break
            fewer = tuple(layer for layer in kept if layer != gain.layer)
            self._say(f"{len(fewer)} layers in float, without {gain.layer}")
            if self._passes(fewer):
                kept = fewer
        return kept

    def _passes(self, kept: Kept) -> bool:
        try:
            return self._quality(kept).passes
        except RefusedError:
            return False

    def _quality(self, kept: Kept) -> Quality:
        key = frozenset(kept)
        if key not in self._seen:
            began = self._clock()
            self._seen[key] = self._measure(kept)
            self._longest = max(self._longest, self._clock() - began)
        return self._seen[key]

    def _time(self, share: float) -> bool:
        """Whether one more candidate is likely to be done within this share of the budget."""
        spent = self._clock() - self._started
        return spent + self._longest <= share * self._budget


def _removed(gain_db: float) -> float:
    """Share of the noise power that a gain takes away; those of independent layers add up."""
    return 1.0 - float(10.0 ** (-gain_db / 10.0))


def _order(ranking: Sequence[Gain], joint: Sequence[tuple[str, str, float]]) -> list[str]:
    """Layers in the order in which they are taken to float: by gain, pairs together."""
    units: list[tuple[tuple[str, ...], float]] = [((a, b), gain) for a, b, gain in joint]
    units += [((g.layer,), g.gain_db if g.gain_db is not None else 0.0) for g in ranking]
    units.sort(key=lambda unit: -unit[1])
    return list(dict.fromkeys(layer for unit, _ in units for layer in unit))
