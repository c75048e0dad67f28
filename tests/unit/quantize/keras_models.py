"""Entries that the TensorFlow process of a test calls."""

from __future__ import annotations

from typing import Any


def small() -> Any:
    """A network whose weights are all too small for the converter."""
    import keras

    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2)(x))
