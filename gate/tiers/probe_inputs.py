"""Inputs of the hostile probes, made from what samples look like. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gate.core.spec import InputSpec
from gate.core.tensors import Array, TensorMap

SATURATION = 4.0
"""Factor on samples that takes them far beyond any calibrated range."""

CLIPS = (1.0, 2.0)
"""Multiples of the calibrated range that a quantized input clips at: codes of eight bits that are
calibrated to seven (``reduce_range``) reach twice as far."""

RANDOM_ROWS = 4
_DENORMAL = {"float64": 1e-310, "float32": 1e-40, "float16": 6e-8}
"""Below the smallest normal number of the type: 2.2e-308, 1.2e-38, 6.1e-5."""


class NoMeaningError(Exception):
    """A probe that has no meaning for these inputs; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Lowest and highest value of one input over the samples that stand for its calibration."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the inputs of probes are made from."""

    samples: TensorMap
    """A few evaluation samples, input -> array with the batch first."""
    ranges: Mapping[str, Range]
    inputs: Mapping[str, InputSpec]
    seed: int

    def analogue(self, name: str) -> bool:
        """Whether an input holds quantities, which a probe may change, rather than names of things
        (token ids, masks), which it may only choose among."""
        kind = self.samples[name].dtype
        return kind.kind == "f" or kind == np.uint8


def ranges_of(batches: list[TensorMap]) -> dict[str, Range]:
    """Range of every input; of all bytes, that of the type."""
    found: dict[str, Range] = {}
    for name in batches[0]:
        values = [batch[name] for batch in batches]
        if values[0].dtype == np.uint8:
            found[name] = Range(low=0.0, high=255.0)
            continue
        low = min(float(np.nanmin(value)) for value in values)
        high = max(float(np.nanmax(value)) for value in values)
        found[name] = Range(low=low, high=high)
    return found


def zeros(material: Material) -> TensorMap:
    """Two samples of zeros."""
    return {name: np.zeros_like(value[:2]) for name, value in material.samples.items()}


def constant(material: Material) -> TensorMap:
    """Five samples, each of one value: the ends of the range, its middle and its quarters."""
    steps = np.linspace(0.0, 1.0, 5)
    return _filled(material, len(steps), lambda _, row: steps[row])


def extremes(material: Material) -> TensorMap:
    """Eight samples of nothing but the two ends of the range: all low, all high, both chequered
    patterns, and four at random."""
    rng = np.random.default_rng(material.seed)

    def level(shape: tuple[int, ...], row: int) -> Array:
        chequered = np.indices(shape).sum(axis=0) % 2 if shape else np.zeros(())
        patterns = (np.zeros(shape), np.ones(shape), chequered, 1 - chequered)
        return patterns[row] if row < len(patterns) else rng.integers(0, 2, size=shape)

    return _filled(material, 4 + RANDOM_ROWS, level)


def saturating(material: Material) -> TensorMap:
    """Samples ``SATURATION`` times as large.

    Raises:
        NoMeaningError: no input is floating-point: an integer has no value beyond its type's.
    """
    if not any(value.dtype.kind == "f" for value in material.samples.values()):
        raise NoMeaningError("no input is floating-point: nothing lies beyond the type's own range")
    return {
        name: (value * value.dtype.type(SATURATION)) if value.dtype.kind == "f" else value
        for name, value in material.samples.items()
    }


def clipped(inputs: TensorMap, material: Material, factor: float) -> TensorMap:
    """Floating-point inputs clipped to ``factor`` times their ranges, as a quantized input would be."""
    made: dict[str, Array] = {}
    for name, value in inputs.items():
        made[name] = value
        if value.dtype.kind == "f":
            limits = material.ranges[name]
            middle, half = (limits.low + limits.high) / 2, (limits.high - limits.low) / 2
            # A range that begins at zero is widened upwards: below zero there is nothing to store.
            low = 0.0 if limits.low == 0.0 else middle - factor * half
            high = limits.high * factor if limits.low == 0.0 else middle + factor * half
            made[name] = np.clip(value, low, high).astype(value.dtype)
    return made


def denormals(material: Material) -> TensorMap:
    """Four samples of numbers below the smallest normal one, of random signs.

    Raises:
        NoMeaningError: no input is floating-point.
    """
    if not any(str(value.dtype) in _DENORMAL for value in material.samples.values()):
        raise NoMeaningError("no input is floating-point")
    rng = np.random.default_rng(material.seed)
    made: dict[str, Array] = {}
    for name, value in material.samples.items():
        rows = value[:4]
        size = _DENORMAL.get(str(value.dtype))
        signs = rng.choice([-1.0, 1.0], size=rows.shape)
        made[name] = rows if size is None else (signs * size).astype(value.dtype)
    return made


def borders(material: Material) -> TensorMap:
    """Nine images that are empty (zero, or what is nearest to it) but for one corner, one edge or
    the whole frame at the highest value.

    Raises:
        NoMeaningError: no input has spatial axes.
    """
    if not any(_image(material, name) for name in material.samples):
        raise NoMeaningError("no input has spatial axes")
    made: dict[str, Array] = {}
    for name, value in material.samples.items():
        if not _image(material, name):
            made[name] = np.resize(value, (len(_FRAMES), *value.shape[1:]))
            continue
        limits = material.ranges[name]
        empty = min(max(0.0, limits.low), limits.high)
        image = np.full((len(_FRAMES), *value.shape[1:]), empty, dtype=value.dtype)
        for row, places in enumerate(_FRAMES):
            for place in places:
                image[(row, ..., *place)] = limits.high
        made[name] = image
    return made


def resized(material: Material, *, largest: bool) -> TensorMap:
    """Samples with every axis that has limits at one of them, repeated or cut.

    Raises:
        NoMeaningError: no axis has limits.
    """
    if not any(spec.ranges for spec in material.inputs.values()):
        raise NoMeaningError("no axis of the inputs has limits")
    end = 1 if largest else 0
    made: dict[str, Array] = {}
    for name, value in material.samples.items():
        spec = material.inputs[name]
        # Where the batch axis has no limits of its own, two samples show what one would.
        result = value if spec.shape[0] in spec.ranges else value[:2]
        for axis, size in enumerate(spec.shape):
            if isinstance(size, str) and size in spec.ranges:
                wanted = spec.ranges[size][end]
                result = result.take(np.arange(wanted) % result.shape[axis], axis=axis)
        made[name] = np.ascontiguousarray(result)
    return made


_ALL = slice(None)
_Place = tuple[int | slice, int | slice]
_FRAMES: tuple[tuple[_Place, ...], ...] = (
    ((0, 0),),
    ((0, -1),),
    ((-1, 0),),
    ((-1, -1),),
    ((0, _ALL),),
    ((-1, _ALL),),
    ((_ALL, 0),),
    ((_ALL, -1),),
    ((0, _ALL), (-1, _ALL), (_ALL, 0), (_ALL, -1)),
)
"""Corners, edges, frame; along the last two axes."""


def _image(material: Material, name: str) -> bool:
    return material.samples[name].ndim in {4, 5} and material.analogue(name)


def _filled(
    material: Material, rows: int, level: Callable[[tuple[int, ...], int], Array | float]
) -> TensorMap:
    """Rows whose elements lie at ``level`` (0 low, 1 high) of the input's range; what is no quantity
    takes the nearer of the two values at its ends."""
    made: dict[str, Array] = {}
    for name, value in material.samples.items():
        limits = material.ranges[name]
        shape = value.shape[1:]
        batch = np.empty((rows, *shape), dtype=value.dtype)
        for row in range(rows):
            share = np.broadcast_to(np.asarray(level(shape, row), dtype=np.float64), shape)
            if not material.analogue(name):
                share = np.round(share)
            batch[row] = limits.low + share * (limits.high - limits.low)
        made[name] = batch
    return made
