"""Makes the committed weights: ``python -m specs.training [NAME ...]``, ``make weights ARGS=NAME``; all of
them where none is named."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from specs.training import digits_cnn, digits_lstm, stand_ins, tasks, uneven
from specs.training.digits import reproducible, save

DIGITS: dict[str, Callable[[], None]] = {
    "digits_cnn": digits_cnn.main,
    "digits_lstm": digits_lstm.main,
    "digits_uneven": uneven.main,
}
NAMES = (*DIGITS, *stand_ins.RECIPES, *tasks.RECIPES)


def make(name: str) -> None:
    """Train, measure, save; says what it reaches and the SHA-256 of the file."""
    if name in stand_ins.RECIPES:
        stand_ins.main([name])
        return
    if name in DIGITS:
        sys.stdout.write(f"{name}:\n")
        DIGITS[name]()
        return
    reproducible(seed=0)
    started = time.monotonic()
    model, reached = tasks.train(name)
    spent = time.monotonic() - started
    sys.stdout.write(f"{name}: {reached}, {spent:.0f} s, sha256 {save(model, name)}\n")
    sys.stdout.flush()


def main() -> None:
    """Make those named."""
    parser = argparse.ArgumentParser(prog="python -m specs.training", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        make(name)


if __name__ == "__main__":
    main()
