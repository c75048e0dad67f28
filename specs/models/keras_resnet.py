"""ResNet-50 in Keras, at a fraction of its width, with the weights of the torch stand-in of that width.

Blocks, depth and strides are torchvision's (the stride of a stage is in its 3 x 3 convolution), so that
the two networks compute the same function. Runs in the TensorFlow process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

State = Mapping[str, npt.NDArray[np.float32]]

WEIGHTS = Path(__file__).parent.parent / "weights"
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


def resnet50(
    width: int = 8, classes: int = 10, size: int = 32, weights: str = "resnet50_w8"
) -> Any:
    """ResNet-50. Input (N, size, size, 3), output (N, classes).

    Args:
        width: channels after the first convolution.
        classes: of the output.
        size: of the images.
        weights: name of a file of ``specs/weights/``.
    """
    import keras
    from safetensors.numpy import load_file

    build = _Builder(keras)
    image = keras.Input((size, size, 3), name="image")
    x = build.relu(build.conv(image, "conv1", width, 7, 2, norm="bn1"))
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    for stage, count in enumerate(BLOCKS):
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = build.bottleneck(x, f"layer{stage + 1}.{index}", width << stage, stride, index == 0)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(classes, name="fc")(x))
    _fill(model, load_file(WEIGHTS / f"{weights}.safetensors"))
    return model


class _Builder:
    """Layers under torch's names, their dots replaced."""

    def __init__(self, keras: Any) -> None:
        self._layers = keras.layers

    def relu(self, x: Any) -> Any:
        return self._layers.ReLU()(x)

    def conv(self, x: Any, name: str, filters: int, kernel: int, stride: int, *, norm: str) -> Any:
        """A convolution padded as torch pads it, and its normalisation."""
        if kernel > 1:
            x = self._layers.ZeroPadding2D(kernel // 2)(x)
        x = self._layers.Conv2D(filters, kernel, stride, use_bias=False, name=_keras(name))(x)
        return self._layers.BatchNormalization(epsilon=1e-5, name=_keras(norm))(x)

    def bottleneck(self, x: Any, name: str, width: int, stride: int, project: bool) -> Any:
        """1 x 1, 3 x 3 and 1 x 1, and the way round them."""
        y = self.relu(self.conv(x, f"{name}.conv1", width, 1, 1, norm=f"{name}.bn1"))
        y = self.relu(self.conv(y, f"{name}.conv2", width, 3, stride, norm=f"{name}.bn2"))
        y = self.conv(y, f"{name}.conv3", EXPANSION * width, 1, 1, norm=f"{name}.bn3")
        if project:
            down = f"{name}.downsample"
            x = self.conv(x, f"{down}.0", EXPANSION * width, 1, stride, norm=f"{down}.1")
        return self.relu(self._layers.Add()([y, x]))


def _fill(model: Any, state: State) -> None:
    for layer in model.layers:
        name = _torch(layer.name)
        kind = type(layer).__name__
        if kind == "Conv2D":
            layer.set_weights([state[f"{name}.weight"].transpose(2, 3, 1, 0)])
        elif kind == "Dense":
            layer.set_weights([state[f"{name}.weight"].T, state[f"{name}.bias"]])
        elif kind == "BatchNormalization":
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([state[f"{name}.{part}"] for part in parts])


def _keras(name: str) -> str:
    """Keras takes no dots in names; torch's have no hyphens."""
    return name.replace(".", "-")


def _torch(name: str) -> str:
    return name.replace("-", ".")
