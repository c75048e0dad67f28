"""Samples on which the candidate's top-1 answer turned right or wrong: shown to people, never judged."""

from __future__ import annotations

from dataclasses import dataclass

FLIPS_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One labelled sample that exactly one of the two models gets right."""

    sample: int
    """Place among the evaluation samples, from zero."""
    index: int
    """Index into the data set."""
    label: int
    reference: int
    """Class that the reference answers."""
    candidate: int
    """Class that the candidate answers."""
    png: str | None = None
    """The model's input as a small PNG in base64; None where it is no image."""

    @property
    def lost(self) -> bool:
        """Whether the reference was right and the candidate is wrong."""
        return self.reference == self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The flipped samples of one case, or the first of them."""

    schema: int = FLIPS_SCHEMA
    case_id: str
    lost: int
    """How many samples turned wrong, kept or not."""
    gained: int
    """How many samples turned right, kept or not."""
    kept: tuple[Flip, ...]
    """Those that turned wrong first, each group in the order of the samples."""
    why_no_pictures: str = ""
    """Set where the inputs are images and could not be drawn."""
