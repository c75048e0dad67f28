"""What a fault is, where it goes in, and what its injector answers. Imports no framework.

``gate.drill.inject.load(name)`` gives the injector of a fault; what it looks like depends on ``point``:

===========  ==============================================================================
point        injector
===========  ==============================================================================
artifact     :class:`ArtifactInjector`; ``gate.drill.plant.plant`` runs it on a candidate file,
             chooses the place by the generator and makes sure that something changed
quantize     ``(recipe: Recipe, rng) -> Recipe``: other options, or other calibration samples
data         ``(samples: SampleSet, rng) -> SampleSet``: other evaluation samples; their digest
             always differs, so that no cache mistakes them (but see ``Fault.silent``)
runtime      ``(backend: Backend, rng) -> Backend``: the same runtime, worse
reference    :class:`ArtifactInjector` on the *float* file, before it is quantized
===========  ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gate.core.spec import Options
from gate.core.status import Tier

if TYPE_CHECKING:
    import numpy as np

    from gate.data.base import SampleSet

Family = Literal["weights", "activations", "structure", "calibration", "data", "runtime", "version"]
Point = Literal["artifact", "quantize", "data", "runtime", "reference"]


class NotHere(Exception):  # noqa: N818 - no error: an answer
    """The candidate has no place for the fault; the message says why."""


class Equivalent(NotHere):
    """There are places, and planting the fault in any of them changes nothing that can be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which a candidate, its making or its evaluation goes wrong."""

    name: str
    family: Family
    summary: str
    """What went wrong, for people."""
    source: str = ""
    """Where it happened: ``onnxruntime#19694``; empty for one that nobody need be told of."""
    point: Point
    tiers: tuple[Tier, ...]
    """Tiers that ought to notice."""
    has_layer: bool
    """True where it sits in one layer, which the verdict should name."""
    changes: Literal["outputs", "structure", "cost"] = "outputs"
    """What is different at all: the numbers, or only how the model is built, or what it costs.
    A fault of the first kind that leaves every output as it was is an equivalent mutant."""
    silent: bool = False
    """Point ``data``: the code behind the declared preprocessing changed, so that a real run would
    report the digest of the data that the baseline has."""
    stops: bool = False
    """True where the broken model may refuse to open or to run, which notices it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """Where a fault was planted and what it did there."""

    layer: str | None
    """Node name (ONNX) or module path (torch) as in the file; None where no one layer is at fault."""
    detail: str
    """For people: ``scale of channel 7: 0.0031 -> 0.0033``."""
    also: tuple[str, ...] = ()
    """Other layers that a verdict may rightly name: the other end of a tensor, both of two swapped."""


class ArtifactInjector(Protocol):
    """Breaks a parsed model in place. ``model`` is an ``onnx.ModelProto``, or for
    ``torch-quantized`` candidates the state that the file holds."""

    def __call__(
        self, model: Any, rng: np.random.Generator, *, place: int | None = None
    ) -> Injection:
        """Plant the fault in the place of that index, or in one that ``rng`` draws.

        Raises:
            NotHere: no place, or none at this index.
        """
        ...

    def places(self, model: Any) -> list[str | None]:
        """Layers that the fault could be planted in, in order of the file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a candidate is made; what faults of the point ``quantize`` change."""

    method: str
    options: Options
    calibration: SampleSet | None
    detail: str = ""
    """Set by the injector: what it changed."""
