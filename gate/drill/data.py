"""Faults of the evaluation data: labels, decoding, resizing, colour order, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gate.core.tensors import Array
from gate.data.base import Dataset, SampleSet, Truth
from gate.data.samples import ChosenSamples
from gate.drill.base import NotHere

Rng = np.random.Generator

_OTHER_FILTER = {
    "bicubic": "bilinear",
    "bilinear": "bicubic",
    "box": "bilinear",
    "lanczos": "bilinear",
    "nearest": "bilinear",
}
_NORMALISATION = ("scale", "mean", "std")
_SHARE_OF_LABELS = 0.1


def chosen(samples: SampleSet | None, what: str) -> ChosenSamples:
    """Samples whose parts can be replaced.

    Raises:
        NotHere: there are none, or they are of another kind.
    """
    if samples is None:
        raise NotHere(f"there are no {what} samples")
    if not isinstance(samples, ChosenSamples):
        raise NotHere(f"{what} samples of type {type(samples).__name__}")
    return samples


class ChangedDataset:
    """A data set whose samples or labels come out otherwise; a ``Dataset``.

    Args:
        inner: the healthy one.
        raw: ``(index, sample) -> sample``.
        labels: index -> another label.
    """

    def __init__(
        self,
        inner: Dataset,
        *,
        raw: Callable[[int, Any], Any] | None = None,
        labels: Mapping[int, int] | None = None,
    ) -> None:
        self._inner = inner
        self._raw = raw
        self._labels = labels or {}

    def __len__(self) -> int:
        return len(self._inner)

    def raw(self, index: int) -> Any:
        """See ``Dataset.raw``."""
        sample = self._inner.raw(index)
        return sample if self._raw is None else self._raw(index, sample)

    def label(self, index: int) -> Truth | None:
        """See ``Dataset.label``."""
        return self._labels.get(index, self._inner.label(index))

    def speaker(self, index: int) -> str | int | None:
        """Whoever it is in the healthy one."""
        asked = getattr(self._inner, "speaker", None)
        return None if asked is None else asked(index)

    def identity(self, index: int) -> bytes:
        """Of changed samples another than of healthy ones."""
        return self._inner.identity(index) + (b"" if self._raw is None else b"changed")


def labels_shuffled(samples: SampleSet, rng: Rng) -> SampleSet:
    """A tenth of the labels, drawn at random, handed on in a circle."""
    found = chosen(samples, "evaluation")
    labels = _labels(found)
    count = max(2, round(_SHARE_OF_LABELS * len(labels)))
    if len(labels) < 2:
        raise NotHere("there is one sample only")
    picked = rng.permutation(found.indices)[: min(count, len(labels))].tolist()
    moved = {
        index: labels[after] for index, after in zip(picked, picked[1:] + picked[:1], strict=True)
    }
    return found.replaced(dataset=ChangedDataset(found.dataset, labels=moved))


def labels_off_by_one(samples: SampleSet, rng: Rng) -> SampleSet:
    """Every label one higher."""
    del rng
    found = chosen(samples, "evaluation")
    moved = {index: label + 1 for index, label in _labels(found).items()}
    return found.replaced(dataset=ChangedDataset(found.dataset, labels=moved))


def other_decoder(samples: SampleSet, rng: Rng) -> SampleSet:
    """As a decoder without interpolation of the colour planes gives JPEG images."""
    del rng
    found = chosen(samples, "evaluation")
    first = found.dataset.raw(found.indices[0])
    kind = getattr(first, "format", None)
    if kind != "JPEG":
        raise NotHere(f"the samples are {kind or type(first).__name__}, no JPEG images")
    return found.replaced(dataset=ChangedDataset(found.dataset, raw=_plain_colour_planes))


def other_interpolation(samples: SampleSet, rng: Rng) -> SampleSet:
    """Another filter of ``resize``."""
    del rng
    found = chosen(samples, "evaluation")
    if "resize" not in found.options:
        raise NotHere("nothing is resized")
    now = str(found.options.get("interpolation", "bilinear"))
    return found.replaced(options={**found.options, "interpolation": _OTHER_FILTER[now]})


def evaluation_bgr(samples: SampleSet, rng: Rng) -> SampleSet:
    """Colour channels in reverse, before they are normalised."""
    del rng
    return in_reverse(chosen(samples, "evaluation"))


def evaluation_unscaled(samples: SampleSet, rng: Rng) -> SampleSet:
    """``scale``, ``mean`` and ``std`` left out."""
    del rng
    return unscaled(chosen(samples, "evaluation"))


def unscaled(samples: ChosenSamples) -> ChosenSamples:
    """The samples without their declared normalisation.

    Raises:
        NotHere: none is declared.
    """
    if not any(key in samples.options for key in _NORMALISATION):
        raise NotHere("no normalisation is declared")
    kept = {key: value for key, value in samples.options.items() if key not in _NORMALISATION}
    return samples.replaced(options=kept)


def in_reverse(samples: ChosenSamples) -> ChosenSamples:
    """The samples with their three colour channels in reverse.

    Raises:
        NotHere: there are no three channels.
    """
    first = samples.dataset.raw(samples.indices[0])
    if not isinstance(first, np.ndarray | Mapping):
        order = samples.options.get("decode", "rgb")
        if order == "gray":
            raise NotHere("the images are grey")
        return samples.replaced(
            options={**samples.options, "decode": "rgb" if order == "bgr" else "bgr"}
        )
    axis = _colour_axis(first)
    return samples.replaced(
        dataset=ChangedDataset(samples.dataset, raw=lambda _, x: np.flip(np.asarray(x), axis=axis))
    )


def _colour_axis(sample: Any) -> int:
    if not isinstance(sample, Mapping):
        shape = np.asarray(sample).shape
        for axis in (0, -1):
            if len(shape) == 3 and shape[axis] == 3:
                return axis
    raise NotHere("the samples have no three colour channels")


def _labels(samples: ChosenSamples) -> dict[int, int]:
    found = {index: samples.dataset.label(index) for index in samples.indices}
    known = {index: label for index, label in found.items() if isinstance(label, int)}
    if not known:
        raise NotHere("the samples have no labels that are whole numbers")
    return known


def _plain_colour_planes(index: int, image: Any) -> Any:
    """Colour planes at half the resolution, each value repeated: what is left of 4:2:0 subsampling
    where a decoder does not interpolate."""
    del index
    from PIL import Image

    if image.mode not in ("RGB", "YCbCr"):
        return image
    light, *colours = image.convert("YCbCr").split()
    half = ((image.width + 1) // 2, (image.height + 1) // 2)
    full = (2 * half[0], 2 * half[1])
    box = (0, 0, image.width, image.height)
    planes = [
        plane.resize(half, Image.Resampling.BOX).resize(full, Image.Resampling.NEAREST).crop(box)
        for plane in colours
    ]
    return Image.merge("YCbCr", (light, *planes)).convert("RGB")


def filled(sample: Any, change: Callable[[Array], Array]) -> Any:
    """A raw sample of arrays or an image with its values changed, in the same form and type."""
    if isinstance(sample, Mapping):
        return {name: filled(value, change) for name, value in sample.items()}
    if isinstance(sample, np.ndarray | np.generic | list | int | float):
        values = np.asarray(sample)
        return change(values.astype(np.float64)).astype(np.result_type(values.dtype, np.float32))
    from PIL import Image

    pixels = np.asarray(sample)
    return Image.fromarray(np.clip(change(pixels.astype(np.float64)), 0, 255).astype(np.uint8))
