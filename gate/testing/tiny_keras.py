"""The tiny network in Keras, with the weights of the torch one. Runs in the TensorFlow process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gate.core.tensors import Array


def build(weights: str) -> Any:
    """(N, 3, 12, 12) -> (N, 10), like ``TinyNet``: channels first outside, last inside.

    Args:
        weights: ``.npz`` file of the torch network's state.
    """
    import keras

    with np.load(weights, allow_pickle=False) as archive:
        state = {name: archive[name] for name in archive.files}
    layers = keras.layers
    image = keras.Input((3, 12, 12), name="image")
    x = layers.Permute((2, 3, 1))(image)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_0")(x)
    stem = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, name="stem_1")(x))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv")(stem)
    x = layers.BatchNormalization(epsilon=1e-5, name="bn")(x)
    x = layers.ReLU()(layers.Add()([x, stem]))
    x = layers.Permute((3, 1, 2))(layers.MaxPooling2D(3)(x))
    x = layers.Dense(32, activation="relu", name="hidden")(layers.Reshape((256,))(x))
    model = keras.Model(image, layers.Dense(10, name="head")(x))
    for name in ("stem_0", "conv"):
        kernel = state[f"{name.replace('_', '.')}.weight"]
        model.get_layer(name).set_weights([kernel.transpose(2, 3, 1, 0)])
    for name in ("stem_1", "bn"):
        model.get_layer(name).set_weights(_norm(state, name.replace("_", ".")))
    for name in ("hidden", "head"):
        model.get_layer(name).set_weights([state[f"{name}.weight"].T, state[f"{name}.bias"]])
    return model


def _norm(state: dict[str, Array], name: str) -> list[Array]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return [state[f"{name}.{part}"] for part in parts]
