"""Makes ``specs/weights/digits_cnn.safetensors``: ``python -m specs.training.digits_cnn``."""

from __future__ import annotations

import sys

from specs.models.digits import cnn
from specs.training.digits import accuracy_percent, reproducible, save, shifted, train

SHAPE = (1, 8, 8)


def main() -> None:
    """Train, measure, save."""
    reproducible(seed=0)
    model = cnn()
    train(model, SHAPE, epochs=60, rate=3e-3, augment=shifted)
    top1 = accuracy_percent(model, SHAPE)
    sys.stdout.write(
        f"top-1 on the test split: {top1:.2f} %\nsha256: {save(model, 'digits_cnn')}\n"
    )


if __name__ == "__main__":
    main()
