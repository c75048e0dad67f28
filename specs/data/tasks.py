"""Small real data for the tasks beside classification, from what scikit-learn carries: no download.

Digits are split as the data source ``sklearn-digits`` does it, patients by a fixed draw and texts by their
names: nothing that is evaluated was trained on.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specs.data.digits import SEED, grey

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

WIDTH = 64
"""Columns of a line of digits."""
BETWEEN_NUMBERS = 6
DIGITS = "_0123456789 "
"""What a line is transcribed with; the first is the blank of CTC."""

LETTERS = " abcdefghijklmnopqrstuvwxyz0.,:;-/()'"
"""Tokens of the language model; 0 stands for every digit, a space for what is not here."""
HELD_OUT = ("diabetes", "olivetti_faces", "wine_data")
WINDOW, CONTEXT = 64, 16
"""Characters of a sample, and how many at its begin are not counted: nothing tells them."""
NOT_COUNTED = -100

ANOMALY = 0
"""The digit that the autoencoder never saw."""

TEST_PATIENTS = 142


def lines(split: str = "test", count: int = 400) -> tuple[Floats, npt.NDArray[np.str_]]:
    """Two numbers of one to three digits side by side, as a column of eight pixels a step.

    Digits are cut to their ink and stand one or two columns apart, numbers six. Returns lines in [0, 1],
    shape (count, WIDTH, 8), and what they say, such as "31 415". Line i is the same whatever ``count`` is.
    """
    digits, labels = grey(split)
    made = np.zeros((count, WIDTH, 8), np.float32)
    texts = []
    for index in range(count):
        draw = np.random.Generator(np.random.PCG64([SEED, index]))
        lengths = draw.integers(1, 4, 2)
        text, at = "", int(draw.integers(0, 3))
        for place, which in enumerate(draw.integers(len(digits), size=lengths.sum())):
            if place == lengths[0]:
                text, at = f"{text} ", at + BETWEEN_NUMBERS
            inked = np.flatnonzero(digits[which].any(axis=0))
            columns = digits[which][:, inked[0] : inked[-1] + 1].T
            made[index, at : at + len(columns)] = columns / 16
            text, at = f"{text}{labels[which]}", at + len(columns) + int(draw.integers(1, 3))
        texts.append(text)
    return made, np.array(texts)


def characters(split: str = "test") -> Whole:
    """Descriptions of data sets as indices into ``LETTERS``, one after the other: those of ``HELD_OUT``, or
    all others."""
    files = sorted(_datasets("descr").glob("*.rst"))
    chosen = [file for file in files if (file.stem in HELD_OUT) == (split == "test")]
    text = " ".join(file.read_text(encoding="utf-8") for file in chosen).lower()
    plain = re.sub(rf"[^{re.escape(LETTERS)}]+", " ", re.sub("[0-9]", "0", text))
    # Rules and tables of a text are long runs of one character.
    short = re.sub(r"([^a-z])\1+", r"\1", re.sub(r" +", " ", plain))
    return np.array([LETTERS.index(letter) for letter in short], np.int64)


def windows(split: str = "test") -> tuple[Whole, Whole]:
    """Characters and those that follow them, each (samples, WINDOW); each counted once."""
    text = characters(split)
    starts = np.arange(0, len(text) - WINDOW, WINDOW - CONTEXT)
    places = starts[:, None] + np.arange(WINDOW)
    following = text[places + 1]
    following[:, :CONTEXT] = NOT_COUNTED
    return text[places], following


def pixels(split: str = "test") -> tuple[Floats, Whole]:
    """Images in [0, 1], shape (samples, 64), and 1 for the digit ``ANOMALY``, which the train split lacks."""
    images, labels = grey(split)
    anomalous = (labels == ANOMALY).astype(np.int64)
    flat = (images / 16).astype(np.float32).reshape(-1, 64)
    shown = np.ones(len(labels), bool) if split == "test" else anomalous == 0
    return flat[shown], anomalous[shown]


def patients(split: str = "test") -> tuple[Floats, Floats]:
    """Ten measurements of a patient with diabetes, in deviations of the train split, shape (samples, 10),
    and a measure of the disease a year later, 25 to 346."""
    folder = _datasets("data")
    measured = np.loadtxt(folder / "diabetes_data_raw.csv.gz", dtype=np.float32)
    disease = np.loadtxt(folder / "diabetes_target.csv.gz", dtype=np.float32)
    order = np.random.Generator(np.random.PCG64(SEED)).permutation(len(disease))
    train = order[TEST_PATIENTS:]
    scaled = (measured - measured[train].mean(axis=0)) / measured[train].std(axis=0)
    chosen = order[:TEST_PATIENTS] if split == "test" else train
    return scaled[chosen], disease[chosen]


def _datasets(part: str) -> Path:
    """A folder of scikit-learn's own files: importing ``sklearn.datasets`` takes a second, in every worker."""
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the data are those of scikit-learn: pip install 'quantgate[sklearn]'"
        )
    return Path(spec.submodule_search_locations[0], "datasets", part)
