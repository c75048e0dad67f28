"""How much of the reference's identity a spec demands: what is told where that is less than all of it."""

from __future__ import annotations

from collections.abc import Iterator

from gate.core.spec import ModelSpec

DIGITS = 64
"""Hexadecimal digits of a SHA-256."""


def pin_notes(model: ModelSpec) -> Iterator[str]:
    """A line where the file of the weights is pinned by a part of its SHA-256, or not at all.

    Says nothing of weights that are drawn, or that a library fetches by a name of its own.
    """
    weights = model.options.get("weights")
    if not isinstance(weights, dict) or "path" not in weights or weights.get("sha256"):
        return
    prefix = weights.get("sha256_prefix")
    if not isinstance(prefix, str):
        yield "the weights of the reference are not pinned: the spec gives no SHA-256 of their file"
    elif len(prefix) < DIGITS:
        yield (
            f"the weights of the reference are pinned by {len(prefix)} of the {DIGITS} digits of a SHA-256"
        )
