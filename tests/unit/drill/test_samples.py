"""Faults of evaluation and calibration samples, on real data sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from gate.core.spec import DataSpec, InputSpec, SampleSpec
from gate.core.tensors import Array
from gate.data.base import SampleSet
from gate.data.samples import open_samples
from gate.drill import inject
from gate.drill.base import NotHere, Recipe
from gate.drill.catalogue import FAULTS

COLOURS = 32


def digits(**preprocess: Any) -> tuple[SampleSet, SampleSet]:
    train, test = (
        SampleSpec(source="sklearn-digits", options={"split": s}, samples=n, skip=0, seed=0)
        for s, n in (("train", 40), ("test", 100))
    )
    spec = DataSpec(
        evaluation=test,
        calibration=train,
        preprocess={"reshape": [1, 8, 8], "scale": 0.0625, **preprocess},
        overlap=False,
    )
    evaluation, calibration = open_samples(
        spec, {"x": InputSpec(shape=("N", 1, 8, 8), dtype="float32")}
    )
    assert calibration is not None
    return evaluation, calibration


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleSet, SampleSet]:
    """Colourful JPEG files of two classes, resized and normalised."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for index in range(4):
            coarse = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            image = Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)
            image.save(root / name / f"{index}.jpg", quality=90)
    whole = {"source": "image-folder", "options": {"path": str(root)}, "skip": 0, "seed": 1}
    spec = DataSpec(
        evaluation=SampleSpec(samples=None, **whole),
        calibration=SampleSpec(samples=3, **whole),
        preprocess={"resize": [COLOURS, COLOURS], "mean": [100, 110, 120], "std": [50, 60, 70]},
        overlap=True,
    )
    shape = ("N", 3, COLOURS, COLOURS)
    evaluation, calibration = open_samples(spec, {"x": InputSpec(shape=shape, dtype="float32")})
    assert calibration is not None
    return evaluation, calibration


def evaluated(name: str, samples: SampleSet, seed: int = 0) -> SampleSet:
    done: SampleSet = inject.load(name)(samples, np.random.default_rng(seed))
    assert done.digest() != samples.digest(), "a cache would take one for the other"
    assert len(done) == len(samples)
    return done


def pixels(samples: SampleSet) -> Array:
    return np.concatenate([batch.inputs["x"] for batch in samples.batches(16)])


def labels(samples: SampleSet) -> list[int]:
    return [int(n) for b in samples.batches(16) if b.labels is not None for n in b.labels]


def test_a_tenth_of_the_labels_moves() -> None:
    evaluation, _ = digits()
    done = evaluated("labels_shuffled", evaluation)
    before, after = labels(evaluation), labels(done)
    assert sorted(before) == sorted(after)
    assert 1 <= sum(x != y for x, y in zip(before, after, strict=True)) <= 10
    assert np.array_equal(pixels(done), pixels(evaluation))
    assert labels(evaluated("labels_shuffled", evaluation)) == after
    assert labels(evaluated("labels_shuffled", evaluation, seed=1)) != after


def test_labels_off_by_one() -> None:
    evaluation, _ = digits()
    done = evaluated("labels_off_by_one", evaluation)
    assert labels(done) == [label + 1 for label in labels(evaluation)]


def test_a_forgotten_normalisation(pictures: tuple[SampleSet, SampleSet]) -> None:
    evaluation, _ = digits()
    done = evaluated("evaluation_unscaled", evaluation)
    assert np.allclose(pixels(done), 16 * pixels(evaluation))
    mean, std = (
        np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ([100, 110, 120], [50, 60, 70])
    )
    raw = pixels(evaluated("evaluation_unscaled", pictures[0]))
    assert np.allclose((raw - mean) / std, pixels(pictures[0]), atol=1e-5)


def test_colours_in_reverse_before_they_are_normalised(
    pictures: tuple[SampleSet, SampleSet],
) -> None:
    raw = pixels(evaluated("evaluation_unscaled", pictures[0]))
    done = pixels(evaluated("evaluation_bgr", pictures[0]))
    mean, std = (
        np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ([100, 110, 120], [50, 60, 70])
    )
    assert np.allclose(done, (raw[:, ::-1] - mean) / std, atol=1e-5)


def test_another_decoder_differs_a_little_in_colour_and_not_in_light(
    pictures: tuple[SampleSet, SampleSet],
) -> None:
    before, after = pixels(pictures[0]), pixels(evaluated("other_decoder", pictures[0]))
    off = (after - before) * np.array([50, 60, 70]).reshape(1, 3, 1, 1)
    light = np.tensordot([0.299, 0.587, 0.114], off, axes=(0, 1))
    assert 0 < np.abs(off).mean() < 12
    assert np.abs(light).mean() < 0.5 * np.abs(off).mean()


def test_another_filter(pictures: tuple[SampleSet, SampleSet]) -> None:
    before, after = pixels(pictures[0]), pixels(evaluated("other_interpolation", pictures[0]))
    assert 0 < np.abs(after - before).mean() < 0.3


@pytest.mark.parametrize("name", ["other_decoder", "other_interpolation", "evaluation_bgr"])
def test_arrays_of_one_channel_have_no_place(name: str) -> None:
    with pytest.raises(NotHere):
        evaluated(name, digits()[0])


def recipe(calibration: SampleSet | None, method: str = "onnxruntime-static") -> Recipe:
    return Recipe(method=method, options={}, calibration=calibration)


def calibrated(name: str, samples: SampleSet) -> SampleSet:
    done: Recipe = inject.load(name)(recipe(samples), np.random.default_rng(0))
    assert done.detail
    assert done.calibration is not None
    assert done.calibration.digest() != samples.digest()
    return done.calibration


def test_calibration_faults_change_what_they_say(pictures: tuple[SampleSet, SampleSet]) -> None:
    _, calibration = digits()
    before = pixels(calibration)
    assert (
        np.ptp(pixels(calibrated("calibration_constant", calibration)), axis=(1, 2, 3)).max() == 0
    )
    assert len(calibrated("calibration_tiny", calibration)) == 1
    assert np.allclose(pixels(calibrated("calibration_unscaled", calibration)), 16 * before)
    assert len(set(labels(calibrated("calibration_one_class", calibration)))) == 1
    ratio = pixels(calibrated("calibration_outlier", calibration)).max((1, 2, 3)) / before.max(
        (1, 2, 3)
    )
    assert sorted(np.rint(ratio).astype(int))[-2:] == [1, 100]
    colours = pixels(calibrated("calibration_bgr", pictures[1]))
    assert not np.allclose(colours, pixels(pictures[1]))
    constant = pixels(calibrated("calibration_constant", pictures[1]))
    assert np.ptp(constant, axis=(2, 3)).max() == 0


@pytest.mark.parametrize("name", [n for n, f in FAULTS.items() if f.family == "calibration"])
@pytest.mark.parametrize("method", ["onnxruntime-dynamic", "candidate"])
def test_methods_without_calibration_have_no_place(name: str, method: str) -> None:
    with pytest.raises(NotHere):
        inject.load(name)(recipe(digits()[1], method), np.random.default_rng(0))


def test_seven_bits() -> None:
    rng = np.random.default_rng(0)
    done = inject.load("weights_in_7_bits")(recipe(None), rng)
    assert done.options == {"reduce_range": True}
    with pytest.raises(NotHere):
        inject.load("weights_in_7_bits")(done, rng)
    with pytest.raises(NotHere):
        inject.load("weights_in_7_bits")(recipe(None, "candidate"), rng)
