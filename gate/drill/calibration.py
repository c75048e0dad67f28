"""Faults of calibration: other samples than those that the ranges should be taken from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gate import plugins
from gate.data.samples import ChosenSamples
from gate.drill.base import NotHere, Recipe
from gate.drill.data import ChangedDataset, chosen, filled, in_reverse, unscaled

Rng = np.random.Generator


def calibration_constant(recipe: Recipe, rng: Rng) -> Recipe:
    """Every sample filled with its own mean."""
    del rng
    found = _samples(recipe)
    return _with_raw(
        recipe,
        found,
        lambda _, x: filled(x, lambda v: np.full_like(v, v.mean())),
        "constant samples",
    )


def calibration_tiny(recipe: Recipe, rng: Rng) -> Recipe:
    """One sample, drawn at random."""
    found = _samples(recipe)
    if len(found) < 2:
        raise NotHere("there is one calibration sample only")
    index = int(rng.choice(found.indices))
    return _with(recipe, found.replaced(indices=[index]), f"sample {index} alone of {len(found)}")


def calibration_unscaled(recipe: Recipe, rng: Rng) -> Recipe:
    """Without the declared normalisation."""
    del rng
    return _with(recipe, unscaled(_samples(recipe)), "samples without normalisation")


def calibration_bgr(recipe: Recipe, rng: Rng) -> Recipe:
    """Colour channels in reverse."""
    del rng
    return _with(recipe, in_reverse(_samples(recipe)), "colour channels in reverse")


def calibration_one_class(recipe: Recipe, rng: Rng) -> Recipe:
    """Samples of one class alone."""
    found = _samples(recipe)
    labels = {index: found.dataset.label(index) for index in found.indices}
    classes = sorted({label for label in labels.values() if isinstance(label, int)})
    if len(classes) < 2:
        raise NotHere("the calibration samples have no two classes")
    kept = int(rng.choice(classes))
    indices = [index for index in found.indices if labels[index] == kept]
    return _with(recipe, found.replaced(indices=indices), f"{len(indices)} samples of class {kept}")


def calibration_outlier(recipe: Recipe, rng: Rng) -> Recipe:
    """One sample a hundred times as bright; images end at white, so they are brightened after."""
    found = _samples(recipe)
    index = int(rng.choice(found.indices))
    first = found.dataset.raw(found.indices[0])
    if not isinstance(first, np.ndarray | dict):
        raise NotHere("pixels of images cannot exceed white")

    def bright(at: int, sample: Any) -> Any:
        return filled(sample, lambda v: v * 100) if at == index else sample

    return _with_raw(recipe, found, bright, f"sample {index} x 100")


def _samples(recipe: Recipe) -> ChosenSamples:
    quantizer = plugins.load("quantizers", recipe.method)
    if not quantizer.needs_calibration:
        raise NotHere(f"{recipe.method} takes no calibration samples")
    return chosen(recipe.calibration, "calibration")


def _with(recipe: Recipe, samples: ChosenSamples, detail: str) -> Recipe:
    return replace(recipe, calibration=samples, detail=detail)


def _with_raw(
    recipe: Recipe, samples: ChosenSamples, raw: Callable[[int, Any], Any], detail: str
) -> Recipe:
    return _with(recipe, samples.replaced(dataset=ChangedDataset(samples.dataset, raw=raw)), detail)
