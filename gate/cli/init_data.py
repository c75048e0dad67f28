"""Samples of a first spec: the user's own, or random numbers that stand in for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gate.core.spec import InputSpec
from gate.spec.inside import leaves_repository

_SAMPLES = 128
_IMAGENET: dict[str, object] = {
    "decode": "rgb",
    "resize": 256,
    "crop": 224,
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
}


class InitError(Exception):
    """A model or option that no spec can be made of; the message is for the user."""


def first_data(
    path: Path | None, inputs: dict[str, InputSpec], name: str, out: Path
) -> dict[str, Any]:
    """Task, preprocessing and samples of the spec ``out``, with a note on what they are.

    Raises:
        InitError: what ``path`` names does not fit the model, or lies where a spec may not reach.
    """
    if path is not None and path.is_dir():
        folder = {"source": "image-folder", "path": inside(path, out)}
        return {
            "task": "image-classification",
            "preprocess": _IMAGENET,
            "calibration": {**folder, "samples": _SAMPLES, "seed": 0},
            "evaluation": {**folder, "skip": _SAMPLES, "seed": 0},
            "data_note": "the usual transform of ImageNet models; say what yours was trained with",
        }
    labels: dict[str, object] = {}
    if path is None:
        path = out.parent / "data" / f"{name}_random.npz"
        _write_random(path, inputs)
        task, note = "other", "RANDOM NUMBERS: replace them by real samples; labels give accuracy"
    else:
        keys = _npz_keys(path)
        missing = set(inputs) - keys
        if missing:
            raise InitError(f"{path}: has no array for the input {', '.join(sorted(missing))}")
        labels = {"labels": "labels"} if "labels" in keys else {}
        task = "image-classification" if labels else "other"
        note = "drawn with one seed: the first calibrate, the others evaluate"
    array = {
        "source": "npz",
        "path": inside(path, out),
        "inputs": {key: key for key in inputs},
        **labels,
    }
    return {
        "task": task,
        "calibration": {**array, "samples": _SAMPLES // 2, "seed": 0},
        "evaluation": {**array, "skip": _SAMPLES // 2, "seed": 0},
        "data_note": note,
    }


def _write_random(path: Path, inputs: dict[str, InputSpec]) -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for name, declared in inputs.items():
        shape = (_SAMPLES, *(int(axis) for axis in declared.shape[1:]))
        values = generator.standard_normal(shape, dtype=np.float32)
        arrays[name] = values.astype(declared.dtype)
    np.savez(path, **arrays)


def _npz_keys(path: Path) -> set[str]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise InitError(f"{path}: is neither a folder nor an .npz file: {error}") from None


def inside(path: Path, out: Path) -> str:
    """``relative``, of a file that the spec ``out`` may name.

    Raises:
        InitError: it lies outside the repository that the spec will be in.
    """
    reason = leaves_repository(str(path), str(out))
    if reason:
        raise InitError(
            f"{path}: {reason}, and a spec names only what comes with it: copy it in, or write the"
            " spec by hand with a variable in the path (path: ${MODELS}/" + path.name + ")"
        )
    return relative(path, out)


def relative(path: Path, out: Path) -> str:
    """From the spec's folder, with forward slashes."""
    return Path(os.path.relpath(path.resolve(), out.parent.resolve())).as_posix()
