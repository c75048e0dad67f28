"""Mixed precision as a search: which layers in float buy the most accuracy for their bytes.

Pure but for the clock: what a mixture gives is measured by the function that is handed in.

Errors of the layers by themselves, seen in one pass, say in what order layers are worth their bytes;
beginnings of that order are measured first, since they are the likely front, then single layers are
added and left out. Weights are not all of a file: a small layer may take fewer bytes in float than
with the nodes that quantize around it. So ``pareto`` ends with a walk along the front as measured.
Only what was measured is ever chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gate.run.front import Layer, Mixed, Point, front, steps
from gate.run.sensitivity import RefusedError

GAIN_DB = 0.05
"""SQNR below which a change is none: it buys no bytes."""
FRONT_STEP = 0.01
"""Gap between neighbours of the front, as a share of the uniform candidate's bytes, that is not
looked into."""
FLOOR_SHARE = 0.05
"""Of the mean extra bytes of a layer, below which all cost alike."""
_PATIENCE = 8
"""Exchanges in vain after which no more are tried; half as many as there are layers, where more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the search is after."""

    limit_bytes: int | None
    demands_accuracy: bool
    """True: the smallest that misses nothing. False: the best that the bytes allow."""
    strategy: str
    """``greedy`` or ``pareto``."""
    seconds: float
    mixtures: int | None = None
    """How many may be measured; None for as many as the time allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of a search."""

    points: tuple[Point, ...]
    """In the order in which they were measured; the first has no layer in float."""
    chosen: int
    met: bool
    """Whether the chosen one holds the budget of bytes and accuracy."""
    out_of_time: bool
    """Whether the time, or the number of mixtures, ended the search before it was done."""


class MixtureSearch:
    """One search.

    Args:
        measure: makes a candidate with these layers in float and measures it; raises RefusedError.
        layers: layers that can be kept in float, in order of execution.
        wanted: the budget.
        say: told what is being done.
    """

    def __init__(
        self,
        measure: Callable[[Mixed], Point],
        layers: Mapping[str, Layer],
        wanted: Wanted,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._layers = layers
        self._wanted = wanted
        self._say = say
        self._clock = clock
        self._started = clock()
        self._longest = 0.0
        self._points: list[Point] = []
        self._known: dict[frozenset[str], Point | None] = {}
        self._late = False
        # Layers without weights are no bargain for costing nothing: the float tensors around them do.
        extra = sum(layer.extra_bytes for layer in layers.values())
        self._floor = max(1.0, FLOOR_SHARE * extra / max(1, len(layers)))

    def run(self) -> Result:
        """Search and choose.

        Raises:
            RefusedError: not even the uniform candidate can be measured.
        """
        uniform = self._first()
        pareto = self._wanted.strategy == "pareto"
        if pareto or not (self._wanted.demands_accuracy and self._good(uniform)):
            orders = self._orders(uniform)
            if pareto:
                self._trace(uniform, orders)
            self._prefixes(orders)
            self._improve()
            self._thin()  # what it frees may be spent better
            self._exchange()
            self._thin()
            if pareto:
                self._walk()
        chosen = self._choose()
        return Result(
            points=tuple(self._points),
            chosen=self._points.index(chosen),
            met=self._good(chosen),
            out_of_time=self._late,
        )

    def _first(self) -> Point:
        began = self._clock()
        found = self._measure(())
        self._longest = self._clock() - began
        self._points.append(found)
        self._known[frozenset()] = found
        return found

    def _orders(self, uniform: Point) -> list[list[str]]:
        """Layers worth their bytes first, and worst layers first; none that is beyond the budget."""
        limit = self._wanted.limit_bytes
        room = None if limit is None else limit - uniform.size_bytes

        by_worth = sorted(self._layers, key=self._promise)
        by_noise = sorted(self._layers, key=lambda name: -(self._layers[name].noise or 0.0))
        filled = [list(self._filled(order, room)) for order in (by_worth, by_noise)]
        return filled if filled[0] != filled[1] else filled[:1]

    def _filled(self, order: Sequence[str], room: int | None) -> Iterator[str]:
        for name in order:
            cost = self._layers[name].extra_bytes
            if room is None:
                yield name
            elif cost <= room:
                room -= cost
                yield name

    def _prefixes(self, orders: Sequence[Sequence[str]]) -> None:
        """Beginnings of both orders: all of it, which says at once what the bytes can buy, then by
        doubling; with a bound on accuracy, by halving towards the shortest that holds it."""
        for order in orders:
            low, high = 0, len(order) if self._enough(order) else len(order) + 1
            size = 1
            while size < min(high, len(order)):
                if self._enough(order[:size]):
                    high = size
                else:
                    low, size = size, 2 * size
            while low + 1 < high <= len(order) and not self._late:
                middle = (low + high) // 2
                if self._enough(order[:middle]):
                    high = middle
                else:
                    low = middle

    def _enough(self, kept: Sequence[str]) -> bool:
        """Whether a mixture holds a bound on accuracy and the bytes; never, without such a bound."""
        point = self._at(kept)
        return point is not None and self._wanted.demands_accuracy and self._good(point)

    def _trace(self, uniform: Point, orders: Sequence[Sequence[str]]) -> None:
        """Beginnings of the first order, the widest gap in bytes halved again and again."""
        order = orders[0]
        least = FRONT_STEP * uniform.size_bytes
        extra = [0]
        for name in order:
            extra.append(extra[-1] + self._layers[name].extra_bytes)
        done = {0}
        waiting = [len(order)]
        while waiting and not self._late:
            size = waiting.pop()
            self._at(order[:size])
            done.add(size)
            gaps = [
                (extra[high] - extra[low], low, high)
                for low, high in pairwise(sorted(done))
                if high - low > 1 and extra[high] - extra[low] > least
            ]
            if gaps:
                _, low, high = max(gaps)
                middle = (extra[low] + extra[high]) / 2
                waiting = [min(range(low + 1, high), key=lambda i: abs(extra[i] - middle))]

    def _improve(self) -> None:
        """Add single layers to the best so far, those first that ought to gain most for their bytes,
        as long as one gains. With a bound on accuracy only until it holds."""
        improved = True
        while improved and not self._late:
            improved = False
            best = self._choose()
            if self._wanted.demands_accuracy and self._good(best):
                return
            for name in self._by_promise(best):
                point = self._at((*best.kept, name))
                if self._late:
                    return
                if point is not None and self._fits(point) and self._better(point, best):
                    improved = True
                    break

    def _exchange(self) -> None:
        """Put one layer in the place of another, where the bytes leave no room for both: what is seen
        of a layer by itself may be wrong about the output. Ends after some vain attempts in a row."""
        vain = 0
        for best, more, less in self._pairs_to_exchange():
            point = self._at((*(name for name in best.kept if name != less), more))
            vain += 1
            if self._late or vain > max(_PATIENCE, len(self._layers) // 2):
                return
            if point is not None and self._fits(point) and self._better(point, best):
                vain = 0
                self._improve()

    def _pairs_to_exchange(self) -> Iterator[tuple[Point, str, str]]:
        """The best so far, a layer outside of it and one inside that takes as much; anew after each
        improvement."""
        best = None
        while best is not self._choose():
            best = self._choose()
            limit = self._wanted.limit_bytes
            if limit is None or (self._wanted.demands_accuracy and self._good(best)):
                return
            room = limit - best.size_bytes
            outside = sorted(
                (name for name in self._layers if name not in best.kept), key=self._promise
            )
            inside = sorted(best.kept, key=self._promise, reverse=True)
            for more in outside:
                for less in inside:
                    frees = room + self._layers[less].extra_bytes
                    if best is self._choose() and room < self._layers[more].extra_bytes <= frees:
                        yield best, more, less

    def _better(self, point: Point, best: Point) -> bool:
        return point.sqnr_db > best.sqnr_db + GAIN_DB

    def _promise(self, name: str) -> float:
        """Sorts the layers first that ought to gain most for their bytes."""
        layer = self._layers[name]
        return -(layer.noise or 0.0) / (layer.extra_bytes + self._floor)

    def _by_promise(self, best: Point) -> list[str]:
        limit = self._wanted.limit_bytes
        room = None if limit is None else limit - best.size_bytes
        left = [
            name
            for name, layer in self._layers.items()
            if name not in best.kept and (room is None or layer.extra_bytes <= room)
        ]
        return sorted(left, key=self._promise)

    def _thin(self) -> None:
        """Take layers back to integers that buy nothing, the dearest first."""
        best = self._choose()
        for name in sorted(best.kept, key=lambda n: -self._layers[n].extra_bytes):
            fewer = tuple(layer for layer in best.kept if layer != name)
            point = self._at(fewer)
            if self._late:
                return
            if point is None or point.size_bytes >= best.size_bytes:
                continue
            loses = best.sqnr_db - point.sqnr_db
            if self._good(point) if self._wanted.demands_accuracy else loses <= GAIN_DB:
                best = point

    def _walk(self) -> None:
        """Measure what is a layer more, a layer less or one for another from the chosen one, and what
        is a layer more or less from the others of the front, until nothing new is on it."""
        done: set[tuple[Mixed, bool]] = set()
        while not self._late:
            best = self._choose()
            others = front(point for point in self._points if self._fits(point))
            places = [(best, True), *((point, False) for point in others if point is not best)]
            place = next((p for p in places if (p[0].kept, p[1]) not in done), None)
            if place is None:
                return
            point, exchange = place
            limit = self._wanted.limit_bytes
            # Where even the best is over the limit, any with fewer bytes leads towards it.
            most = None if limit is None else max(limit, best.size_bytes)
            for kept in steps(
                point, self._layers, self._known, limit_bytes=most, exchange=exchange
            ):
                self._at(kept)
                if self._late or self._choose() is not best:
                    break  # on from the better one
            else:
                done.add((point.kept, exchange))

    def _choose(self) -> Point:
        """The best of what was measured: see :class:`Wanted`; where nothing is good, the most
        accurate that the bytes allow, or else the smallest."""
        smallest = min(self._points, key=lambda p: p.size_bytes)
        fitting = [p for p in self._points if self._fits(p)] or [smallest]
        good = [p for p in fitting if not p.misses]
        if self._wanted.demands_accuracy and good:
            return min(good, key=lambda p: (p.size_bytes, -p.sqnr_db))
        best = max(fitting, key=lambda p: p.rank)
        # Nearly as good for fewer bytes is better.
        near = [p for p in fitting if p.sqnr_db >= best.sqnr_db - GAIN_DB]
        return min(near, key=lambda p: (p.size_bytes, -p.sqnr_db))

    def _fits(self, point: Point) -> bool:
        limit = self._wanted.limit_bytes
        return limit is None or point.size_bytes <= limit

    def _good(self, point: Point) -> bool:
        return self._fits(point) and not point.misses

    def _at(self, kept: Sequence[str]) -> Point | None:
        """Measure a mixture unless it is known; None where it is refused or the time is over."""
        key = frozenset(kept)
        if key in self._known:
            return self._known[key]
        spent = self._clock() - self._started
        most = self._wanted.mixtures
        enough = most is not None and len(self._known) >= most
        if enough or spent + self._longest > self._wanted.seconds:
            self._late = True
            return None
        began = self._clock()
        ordered = tuple(name for name in self._layers if name in key)
        self._say(f"{len(ordered)} of {len(self._layers)} layers in float")
        try:
            point = self._measure(ordered)
        except RefusedError:
            # With every layer in float nothing is left to quantize: no mixture at all.
            self._known[key] = None
            return None
        finally:
            self._longest = max(self._longest, self._clock() - began)
        self._points.append(point)
        self._known[key] = point
        return point
