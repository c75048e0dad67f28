"""Hostile probes of the numerical tier: made, run through both sides, and added up. Nothing is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gate.backends.base import BackendError, Session
from gate.core.layer import ErrorSums
from gate.core.probes import ProbeObserved
from gate.core.tensors import TensorMap
from gate.metrics.accumulate import ErrorAccumulator
from gate.tiers import probe_inputs as made
from gate.tiers.probe_inputs import Material, NoMeaningError

SAMPLES = 6
"""Evaluation samples that probes are made from; two threes, and a whole of each other batch."""

HELD_BYTES = 256 * 2**20
"""Activations that are held to compare layers; those that come later in a larger model are left out."""

RANGE_SAMPLES = 32
"""Calibration samples that the range of the inputs is taken from."""

REFERENCE, CANDIDATE = "reference", "candidate"

_MAKERS: Mapping[str, Callable[[Material], TensorMap]] = {
    "zeros": made.zeros,
    "constant": made.constant,
    "denormals": made.denormals,
    "borders": made.borders,
    "extremes": made.extremes,
    "smallest": lambda material: made.resized(material, largest=False),
    "largest": lambda material: made.resized(material, largest=True),
}
_DETAIL = {
    "zeros": "all zeros",
    "constant": "five levels from the lowest to the highest value",
    "denormals": "numbers below the smallest normal one",
    "borders": "hot corners, edges and frame",
    "extremes": "nothing but the ends of the range",
    "smallest": "the smallest declared shape",
    "largest": "the largest declared shape",
}

Enter = Callable[[str, str], None]
"""Told the probe and the side that is about to run, so that a crash is known by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The two opened models, and what is known of earlier attempts."""

    reference: Callable[[], Session]
    """Opened when it is first needed."""
    candidate: Session
    batch: int
    """Samples of an evaluated batch."""
    enter: Enter
    crashed: Mapping[tuple[str, str], str]
    """(probe, side) -> how the worker before this one ended in it: not to be tried again."""


def observe_probes(
    names: Sequence[str], material: Material, sides: Sides
) -> Iterator[ProbeObserved]:
    """Run the probes ``names`` in order.

    Whatever a side raises is a fact about it and is recorded; it ends nothing.
    """
    for name in names:
        try:
            yield _Probe(name, material, sides).observe()
        except NoMeaningError as error:
            yield ProbeObserved(name=name, not_applicable=str(error))


class _Probe:
    def __init__(self, name: str, material: Material, sides: Sides) -> None:
        self._name = name
        self._material = material
        self._sides = sides

    def observe(self) -> ProbeObserved:
        match self._name:
            case "batch":
                return self._batches()
            case "channels_last":
                return self._channels_last()
            case "saturating":
                return self._saturating()
            case name:
                return self._compared(_MAKERS[name](self._material), _DETAIL[name])

    def _compared(self, inputs: TensorMap, detail: str) -> ProbeObserved:
        """Reference against candidate on ``inputs``."""
        observed = ProbeObserved(
            name=self._name, detail=_shaped(detail, inputs), samples=_rows(inputs)
        )
        x, y = self._both(inputs)
        if isinstance(x, str) or isinstance(y, str):
            return _refused(observed, x, y)
        errors = compare(x, y)
        if isinstance(errors, str):
            return replace(observed, candidate_fault=errors)
        return replace(observed, outputs=errors)

    def _saturating(self) -> ProbeObserved:
        """Clipped is what a quantized input is, not clipped what a dynamic one or a float layer is."""
        inputs = made.saturating(self._material)
        best = self._compared(inputs, f"samples {made.SATURATION:g} times as large")
        candidate = self._run(CANDIDATE, inputs)
        for factor in made.CLIPS:
            reference = self._run(REFERENCE, made.clipped(inputs, self._material, factor))
            if not best.outputs or isinstance(reference, str) or isinstance(candidate, str):
                return best
            errors = compare(reference, candidate)
            if not isinstance(errors, str) and _noise(errors) < _noise(best.outputs):
                detail = (
                    f"samples {made.SATURATION:g} times as large, the reference on inputs clipped"
                )
                best = replace(
                    best,
                    outputs=errors,
                    detail=f"{detail} at {factor:g} times the calibrated range",
                )
        return best

    def _batches(self) -> ProbeObserved:
        fixed = [
            size
            for spec in self._material.inputs.values()
            if isinstance(size := spec.shape[0], int)
        ]
        if fixed:
            raise NoMeaningError(f"the batch axis is fixed at {fixed[0]}")
        samples = self._material.samples
        inputs = _repeated(samples, max(self._sides.batch, 4))
        rows = _rows(samples)
        detail = f"{rows} samples one at a time and in threes, against a batch of {_rows(inputs)}"
        parts = [*_parts(samples, 1), *_parts(samples, 3)]
        found = self._with_itself(detail, rows, lambda side: self._in_parts(side, inputs, parts))
        if all(sums.sum_err2 == 0.0 for sums in found.outputs.values()):
            return found
        return replace(found, alone=self._alone(samples))

    def _alone(self, samples: TensorMap) -> Mapping[str, ErrorSums]:
        """Every layer of the candidate for the first sample, among the others against by itself.

        Empty where the backend cannot show them: it is only asked which layer is at fault.
        """
        session = self._sides.candidate
        first = {name: value[:1] for name, value in samples.items()}
        found: dict[str, ErrorSums] = {}
        try:
            rows = {row.capture: row.name for row in session.layers(samples) if row.capture}
            apart, held = {}, 0
            for name, value in session.capture(first, list(rows)):
                apart[name], held = value, held + value.nbytes
                if held > HELD_BYTES:
                    break
            for name, value in session.capture(samples, list(apart)):
                axis = _batch_axis(value.shape, apart[name].shape)
                if axis is not None:
                    errors = ErrorAccumulator(None)
                    errors.update(value.take([0], axis=axis), apart.pop(name))
                    found[rows[name]] = errors.sums()
        except BackendError:
            return {}
        return found

    def _in_parts(
        self, side: str, whole: TensorMap, parts: Sequence[tuple[slice, TensorMap]]
    ) -> Mapping[str, ErrorSums] | str:
        together = self._run(side, whole)
        if isinstance(together, str):
            return together
        sums: dict[str, ErrorAccumulator] = {}
        for rows, part in parts:
            alone = self._run(side, part)
            if isinstance(alone, str):
                return f"in a batch of {rows.stop - rows.start}: {alone}"
            expected = {name: value[rows] for name, value in together.items()}
            fault = compare(expected, alone, sums)
            if isinstance(fault, str):
                return f"in a batch of {rows.stop - rows.start}: {fault}"
        return {name: errors.sums() for name, errors in sums.items()}

    def _channels_last(self) -> ProbeObserved:
        if not any(value.ndim in {4, 5} for value in self._material.samples.values()):
            raise NoMeaningError("no input has four or five axes")
        if not hasattr(self._sides.candidate, "run_channels_last"):
            raise NoMeaningError("the backend takes tensors in one order of memory only")

        def once(side: str) -> Mapping[str, ErrorSums] | str:
            usual = self._run(side, self._material.samples)
            other = self._run(side, self._material.samples, method="run_channels_last")
            if isinstance(usual, str) or isinstance(other, str):
                return other if isinstance(other, str) else str(usual)
            return compare(usual, other)

        rows = _rows(self._material.samples)
        return self._with_itself(f"{rows} samples, channels last in memory", rows, once)

    def _with_itself(
        self, detail: str, rows: int, once: Callable[[str], Mapping[str, ErrorSums] | str]
    ) -> ProbeObserved:
        observed = ProbeObserved(name=self._name, detail=detail, samples=rows)
        own, found = once(REFERENCE), once(CANDIDATE)
        if isinstance(own, str) or isinstance(found, str):
            return _refused(observed, own, found)
        return replace(observed, outputs=found, own=own)

    def _both(self, inputs: TensorMap) -> tuple[TensorMap | str, TensorMap | str]:
        return self._run(REFERENCE, inputs), self._run(CANDIDATE, inputs)

    def _run(self, side: str, inputs: TensorMap, *, method: str = "run") -> TensorMap | str:
        """Outputs, or why there are none."""
        crash = self._sides.crashed.get((self._name, side))
        if crash is not None:
            return crash
        self._sides.enter(self._name, side)
        session = self._sides.reference() if side == REFERENCE else self._sides.candidate
        try:
            outputs: TensorMap = getattr(session, method)(inputs)
        except Exception as error:  # noqa: BLE001 - what a model does on a probe is what is asked
            first = next(iter(str(error).strip().splitlines()), "")
            return f"{type(error).__name__}: {first}" if first else type(error).__name__
        return outputs


def compare(
    x: TensorMap, y: TensorMap, sums: dict[str, ErrorAccumulator] | None = None
) -> Mapping[str, ErrorSums] | str:
    """Errors by the names of ``x``, added to ``sums``; or how the outputs do not fit."""
    if len(x) == len(y) == 1:
        y = dict(zip(x, y.values(), strict=True))
    found = {} if sums is None else sums
    for name, value in x.items():
        if name not in y:
            return f"there is no output '{name}'"
        if y[name].shape != value.shape:
            return f"output '{name}' has shape {list(y[name].shape)}, expected {list(value.shape)}"
        found.setdefault(name, ErrorAccumulator(None)).update(value, y[name])
    return {name: errors.sums() for name, errors in found.items()}


def _refused(
    observed: ProbeObserved, x: Mapping[str, object] | str, y: Mapping[str, object] | str
) -> ProbeObserved:
    if isinstance(x, str) and isinstance(y, str):
        return replace(observed, refused_by_both=f"{x} (the candidate: {y})" if x != y else x)
    if isinstance(x, str):
        return replace(observed, reference_fault=x)
    return replace(observed, candidate_fault=str(y))


def _rows(inputs: TensorMap) -> int:
    return len(next(iter(inputs.values())))


def _shaped(detail: str, inputs: TensorMap) -> str:
    shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
    return f"{detail} ({shapes})"


def _repeated(samples: TensorMap, rows: int) -> TensorMap:
    """The samples over and over, up to ``rows``, and never fewer than there are."""
    count = max(rows, _rows(samples))
    return {
        name: value.take(np.arange(count) % len(value), axis=0) for name, value in samples.items()
    }


def _parts(samples: TensorMap, size: int) -> Iterator[tuple[slice, TensorMap]]:
    """Whole batches of ``size``, with the rows that they are."""
    for start in range(0, _rows(samples) - size + 1, size):
        rows = slice(start, start + size)
        yield rows, {name: value[rows] for name, value in samples.items()}


def _batch_axis(whole: tuple[int, ...], one: tuple[int, ...]) -> int | None:
    """The axis on which a batch is longer than a sample; None where the shapes tell of none."""
    if len(whole) != len(one):
        return None
    longer = [axis for axis, (a, b) in enumerate(zip(whole, one, strict=True)) if a != b]
    return longer[0] if len(longer) == 1 and one[longer[0]] == 1 else None


def _noise(errors: Mapping[str, ErrorSums]) -> float:
    """Largest ratio of error to signal; infinite beside no signal."""
    return max(
        one.sum_err2 / one.sum_x2 if one.sum_x2 else math.inf if one.sum_err2 else 0.0
        for one in errors.values()
    )
