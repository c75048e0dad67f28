"""Protocol of data sources, and the sample sets that runs and quantizers read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.core.tensors import Array, TensorMap

Truth: TypeAlias = "int | str | Array"
"""What is right of one sample: a class or an identity (a plain int), a text, or an array: boxes
(rows of class, centre x, centre y, width, height, as shares of the image), a mask of classes
(height, width), tokens, or targets of a regression."""


class DataError(Exception):
    """Data that is missing, malformed or too little; the message is for the user."""


class Dataset(Protocol):
    """Indexable raw samples; reading one is cheap enough to be done again.

    One of utterances may also have ``speaker(index) -> str | int | None``, None where that is not
    known: utterances of one speaker are not independent.
    """

    def __len__(self) -> int: ...

    def raw(self, index: int) -> Any:
        """A PIL image, an array, or a mapping of input names to arrays without a batch axis."""
        ...

    def label(self, index: int) -> Truth | None:
        """Class index or another truth, or None where the data has no labels."""
        ...

    def identity(self, index: int) -> bytes:
        """Bytes that change when the sample's content changes (file bytes, array bytes)."""
        ...


class DataSource(Protocol):
    """Opens a data set. Importing the module of a source imports nothing heavy."""

    name: ClassVar[str]
    options_schema: ClassVar[Mapping[str, JsonValue]]

    def unavailable(self) -> str | None:
        """Why this source cannot work here and how to get it; None where it can."""
        ...

    def open(self, options: Options) -> Dataset:
        """Raises DataError where the data is missing or malformed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive samples of a sample set, preprocessed."""

    inputs: TensorMap
    labels: Array | None
    """int64, shape (batch,); None without labels, and where they are no integers."""
    indices: tuple[int, ...]
    """Indices into the data set, for saying which sample flipped."""
    targets: tuple[Truth, ...] | None = None
    """Truths that are no integers, one a sample."""
    speakers: tuple[str, ...] | None = None
    """Who speaks in each sample; None where the data does not tell."""


class SampleSet(Protocol):
    """Chosen samples in a fixed order, with their preprocessing."""

    def __len__(self) -> int: ...

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Stream the samples in order; the last batch may be smaller."""
        ...

    def digest(self) -> str:
        """SHA-256 over the chosen samples' identities, their labels and the preprocessing."""
        ...
