"""Makes ``specs/weights/digits_uneven.safetensors``: ``python -m specs.training.uneven``."""

from __future__ import annotations

import sys

from specs.models.uneven import DigitsMobileNet, make_uneven
from specs.training.digits import accuracy_percent, reproducible, save, shifted, train

SHAPE = (1, 8, 8)
SPREAD = 8.0
"""Largest factor: ranges differ 64-fold."""


def main() -> None:
    """Train, spread the channels' ranges, measure, save."""
    reproducible(seed=0)
    model = DigitsMobileNet()
    train(model, SHAPE, epochs=80, rate=5e-3, augment=shifted)
    make_uneven(model, SPREAD)
    top1 = accuracy_percent(model, SHAPE)
    sys.stdout.write(
        f"top-1 on the test split: {top1:.2f} %\nsha256: {save(model, 'digits_uneven')}\n"
    )


if __name__ == "__main__":
    main()
