"""Layers tier: how both models are built, and how far each matched layer's output is off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gate.backends.base import LayoutSession, Session
from gate.backends.kept_float import TellingSession
from gate.core.layer import ErrorSums, LayerMatch, LayerRow, LayersObserved
from gate.core.tensors import Array, TensorMap
from gate.metrics.accumulate import ErrorAccumulator
from gate.tiers.isolated import Isolated
from gate.tiers.layout import Layout, choose
from gate.tiers.match import match_layers
from gate.tiers.tensors import add_errors, channel_axis

CAPTURE_BYTES = 64 * 2**20
"""Activations of one capturing run, all layers together: small enough that a backend that can only
give them all at once stays small too."""
CAPTURE_BATCH = 16
"""Samples of one capturing run at most; small networks are not fed one by one."""
TABLE_BATCH = 2
"""Samples of the run that the layer tables describe: fixed, so that tables can be compared, and
more than one, so that the batch axis shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersSeen:
    """The observation, and what is worth saying about how it was taken."""

    layers: LayersObserved
    notes: tuple[str, ...]


def observe_layers(
    reference: Session,
    candidate: Session,
    *,
    sample: TensorMap,
    batches: Callable[[int], Iterable[TensorMap]],
    tick: Callable[[int], None],
) -> LayersSeen:
    """Describe both models, match their layers and compare the matched outputs in one pass.

    Each layer of the candidate is compared twice: where it runs, on the candidate's own inputs
    (cumulative errors), and alone, on the reference's inputs to it (isolated errors). Memory: about
    one layer's activations of one batch a side, and what waits for a later reader.

    Args:
        reference: the floating-point model.
        candidate: the quantized model.
        sample: inputs of the run that the layer tables describe.
        batches: gives the inputs to compare on, in batches of the size it is called with.
        tick: called after each batch with the number of samples so far.
    """
    rows, other = reference.layers(sample), candidate.layers(sample)
    matching = match_layers(rows, other)
    last = isinstance(reference, LayoutSession) and reference.channels_last
    alone = Isolated(candidate, sample, matching.matches, _captures(rows), channels_last=last)
    comparison = _Comparison(rows, other, matching.matches, alone, channels_last=last)
    samples = 0
    for inputs in batches(capture_batch(rows, len(next(iter(sample.values()))))):
        comparison.run(reference, candidate, inputs)
        samples += len(next(iter(inputs.values())))
        tick(samples)
    observed = LayersObserved(
        reference=rows,
        candidate=other,
        matches=comparison.results(),
        unmatched_reference=matching.unmatched_reference,
        unmatched_candidate=matching.unmatched_candidate,
        samples=samples,
        kept_float=candidate.kept_float() if isinstance(candidate, TellingSession) else None,
    )
    return LayersSeen(layers=observed, notes=tuple(comparison.notes()))


def capture_batch(rows: Sequence[LayerRow], table_batch: int) -> int:
    """Samples of a capturing run, by the activations that a table of ``table_batch`` samples shows."""
    elements = sum(
        math.prod(info.shape) for row in rows if row.capture is not None for info in row.outputs
    )
    one = 4 * elements / table_batch  # captured as float32
    return max(1, min(CAPTURE_BATCH, int(CAPTURE_BYTES // max(one, 1.0))))


class _Comparison:
    """Error sums of every match whose two outputs can be captured, over any number of batches."""

    def __init__(
        self,
        reference: Sequence[LayerRow],
        candidate: Sequence[LayerRow],
        matches: Sequence[LayerMatch],
        alone: Isolated,
        *,
        channels_last: bool,
    ) -> None:
        self._channels_last = channels_last
        self._matches = matches
        self._alone = alone
        captures = _captures(reference), _captures(candidate)
        # Capture names (reference's, candidate's) of each match that can be compared.
        self._pairs: dict[int, tuple[str, str]] = {}
        for index, match in enumerate(matches):
            x = captures[0].get(match.reference[-1]) if match.reference else None
            y = captures[1].get(match.candidate)
            if x is not None and y is not None:
                self._pairs[index] = (x, y)
        self._errors: dict[int, ErrorAccumulator] = {}
        self._misfits: dict[int, str] = {}
        # Of each match, as the first batch showed it: the layout and the candidate's shape.
        self._layouts: dict[int, tuple[Layout, tuple[int, ...]]] = {}
        self._remarks: dict[int, str] = {}
        self._absent: set[int] = set()

    def run(self, reference: Session, candidate: Session, inputs: TensorMap) -> None:
        """Add one batch."""
        pairs = {i: pair for i, pair in self._pairs.items() if i not in self._misfits}
        self._alone.begin(inputs)
        needs = {index: self._alone.needs(index) for index in pairs}
        outputs = dict.fromkeys(pair[0] for pair in pairs.values())
        entering = dict.fromkeys(name for names in needs.values() for name in names)
        found = _Lockstep(
            _capture(reference, inputs, list(outputs | entering)),
            _capture(candidate, inputs, list(dict.fromkeys(pair[1] for pair in pairs.values()))),
            pairs,
            needs,
        )
        compared = set()
        for index, x, y, taken in found.pairs():
            compared.add(index)
            layout = self._add(index, x, y)
            if layout is not None:
                self._alone.add(index, x, taken, layout, self._layouts)
        self._absent |= set(pairs) - compared

    def results(self) -> tuple[LayerMatch, ...]:
        """The matches with their error sums."""
        return tuple(
            replace(
                match,
                errors=self._sums(index),
                isolated=self._alone.sums(index),
                why_not_isolated=self._alone.why_not(index),
            )
            for index, match in enumerate(self._matches)
        )

    def notes(self) -> Iterator[str]:
        """What could not be compared, and why."""
        for index, why in self._misfits.items():
            yield f"layer '{self._matches[index].candidate}' not compared: {why}"
        if self._absent:
            names = ", ".join(self._matches[index].candidate for index in sorted(self._absent))
            yield f"layers whose outputs the run did not give: {names}"
        for index, remark in self._remarks.items():
            yield f"layer '{self._matches[index].candidate}': {remark}"
        yield from self._alone.notes(self._pairs)

    def _add(self, index: int, x: Array, y: Array) -> Layout | None:
        if index not in self._layouts or len(self._layouts[index][1]) != y.ndim:
            layout, remark = choose(x, y)
            if layout is None:
                self._misfits[index] = (
                    f"the outputs have shapes {list(y.shape)} and {list(x.shape)} (reference)"
                )
                return None
            self._layouts[index] = (layout, y.shape)
            if remark:
                self._remarks[index] = remark
        layout = self._layouts[index][0]
        try:
            fitting = layout.apply(y, x.shape)
        except ValueError:
            fitting = None
        if fitting is None or fitting.shape != x.shape:
            self._misfits[index] = (
                f"the outputs have shapes {list(y.shape)} and {list(x.shape)} (reference)"
            )
            return None
        if index not in self._errors:
            self._errors[index] = ErrorAccumulator(channel_axis(x.shape, last=self._channels_last))
        add_errors(self._errors[index], x, fitting)
        return layout

    def _sums(self, index: int) -> ErrorSums | None:
        # A layer that was seen in some batches only is not reported as if it had been seen in all.
        if index in self._misfits or index in self._absent or index not in self._errors:
            return None
        return self._errors[index].sums()


class _Lockstep:
    """Pulls two streams of layer outputs so that as little as possible waits for its counterpart.

    The candidate leads; the reference is pulled only until the counterpart of the candidate's
    tensor is there. A tensor is dropped when the last match that needs it, as its output or as an
    input of its layer, has been compared: with the same order of execution on both sides only what
    a later layer reads waits.
    """

    def __init__(
        self,
        reference: Iterator[tuple[str, Array]],
        candidate: Iterator[tuple[str, Array]],
        pairs: Mapping[int, tuple[str, str]],
        needs: Mapping[int, tuple[str, ...]],
    ) -> None:
        self._reference = reference
        self._candidate = candidate
        self._by_candidate: dict[str, list[tuple[int, str]]] = {}
        for index, (x, y) in pairs.items():
            self._by_candidate.setdefault(y, []).append((index, x))
        self._operands = needs
        self._needed = Counter(x for x, _ in pairs.values())
        self._needed.update(name for names in needs.values() for name in names)
        self._pending: dict[str, Array] = {}

    def pairs(self) -> Iterator[tuple[int, Array, Array, Mapping[str, Array]]]:
        """Index of the match, reference's output, candidate's output, the reference's tensors that
        enter the layer (those that came)."""
        for name, y in self._candidate:
            for index, x_name in self._by_candidate.pop(name, ()):
                entering = {
                    operand: value
                    for operand in self._operands.get(index, ())
                    if (value := self._take(operand)) is not None
                }
                x = self._take(x_name)
                if x is not None:
                    yield index, x, y, entering
                del x, entering
            del y

    def _take(self, name: str) -> Array | None:
        while name not in self._pending:
            following = next(self._reference, None)
            if following is None:
                return None
            if self._needed[following[0]] > 0:
                self._pending[following[0]] = following[1]
        self._needed[name] -= 1
        return self._pending[name] if self._needed[name] else self._pending.pop(name)


def _capture(
    session: Session, inputs: TensorMap, names: Sequence[str]
) -> Iterator[tuple[str, Array]]:
    return session.capture(inputs, names) if names else iter(())


def _captures(rows: Iterable[LayerRow]) -> dict[str, str]:
    return {row.name: row.capture for row in rows if row.capture is not None}
