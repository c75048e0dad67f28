"""Makes ``specs/weights/digits_lstm.safetensors``: ``python -m specs.training.digits_lstm``."""

from __future__ import annotations

import sys

from specs.models.digits import lstm
from specs.training.digits import accuracy_percent, reproducible, save, shifted, train

SHAPE = (8, 8)


def main() -> None:
    """Train, measure, save."""
    reproducible(seed=0)
    model = lstm()
    train(model, SHAPE, epochs=80, rate=5e-3, augment=shifted)
    top1 = accuracy_percent(model, SHAPE)
    sys.stdout.write(
        f"top-1 on the test split: {top1:.2f} %\nsha256: {save(model, 'digits_lstm')}\n"
    )


if __name__ == "__main__":
    main()
