"""A fault of the catalogue as a change of a worker's run, at the point where it belongs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from gate.core.artifact import Artifact
from gate.core.case import Case
from gate.core.result import Planted
from gate.core.tensors import Array
from gate.data.base import SampleSet
from gate.drill import inject
from gate.drill.base import Equivalent, Fault, Injection, NotHere, Point, Recipe
from gate.drill.catalogue import FAULTS
from gate.drill.plant import plant
from gate.run.mutation import EquivalentError, MutationError, Mutator, NotApplicableError, Site

if TYPE_CHECKING:
    import numpy as np

    from gate.backends.base import Backend
    from gate.models.base import LoadedModel

FACTORY = "gate.drill.mutator:of_fault"


def of_fault(name: str, seed: int, case_id: str) -> Mutator:
    """The mutator of one fault; the same three values plant it in the same place.

    Raises:
        NotApplicableError: there is no such fault.
    """
    if name not in FAULTS:
        raise NotApplicableError(f"no fault is called '{name}'")
    return FaultMutator(FAULTS[name], generator(name, seed, case_id))


def generator(name: str, seed: int, case_id: str) -> np.random.Generator:
    """Draws of one fault in one case: of their own, whatever other faults are drilled beside it."""
    import numpy as np

    content = f"{seed}\0{case_id}\0{name}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(content).digest()[:8], "big"))


class FaultMutator(Mutator):
    """Plants ``fault`` at its point and leaves every other point as it is."""

    def __init__(self, fault: Fault, rng: np.random.Generator) -> None:
        self._fault = fault
        self._rng = rng

    @property
    def changes_making(self) -> bool:
        """Other options, other calibration samples, or another float model."""
        return self._fault.point in ("quantize", "reference")

    @property
    def changes_reference(self) -> bool:
        """Other evaluation samples, or another float model."""
        return self._fault.point in ("data", "reference")

    def evaluation(self, samples: SampleSet) -> SampleSet:
        """Faults of the point ``data``."""
        if not self._at("data"):
            return samples
        with _told_apart():
            broken: SampleSet = inject.load(self._fault.name)(samples, self._rng)
        self._plant(None, self._fault.summary)
        return broken

    def making(self, case: Case, calibration: SampleSet | None) -> tuple[Case, SampleSet | None]:
        """Faults of the point ``quantize``."""
        if not self._at("quantize"):
            return case, calibration
        made = case.quantization
        recipe = Recipe(method=made.method, options=made.options, calibration=calibration)
        with _told_apart():
            broken: Recipe = inject.load(self._fault.name)(recipe, self._rng)
        self._plant(None, broken.detail or self._fault.summary)
        quantization = replace(made, method=broken.method, options=broken.options)
        return replace(case, quantization=quantization), broken.calibration

    def reference(self, model: LoadedModel, site: Site) -> LoadedModel:
        """Faults of the point ``reference``."""
        if not self._at("reference"):
            return model
        if model.path is None:
            raise NotApplicableError(f"the float model is no file but a {model.format}")
        file = Artifact(
            format=model.format,
            path=model.path,
            sha256=model.sha256,
            size_bytes=model.size_bytes,
            producer="reference",
        )
        broken = self._planted_file(file, site)
        return replace(
            model, path=broken.path, sha256=broken.sha256, size_bytes=broken.size_bytes, module=None
        )

    def candidate(self, artifact: Artifact, site: Site) -> Artifact:
        """Faults of the point ``artifact``."""
        return self._planted_file(artifact, site) if self._at("artifact") else artifact

    def backend(self, backend: Backend) -> Backend:
        """Faults of the point ``runtime``."""
        if not self._at("runtime"):
            return backend
        with _told_apart():
            worse: Backend = inject.load(self._fault.name)(backend, self._rng)
        self._plant(None, self._fault.summary)
        return worse

    def _at(self, point: Point) -> bool:
        return self._fault.point == point

    def _planted_file(self, artifact: Artifact, site: Site) -> Artifact:
        from gate.backends.base import BackendError

        def outputs(file: Artifact) -> list[Array]:
            with site.open_file(file) as session:
                return [
                    value
                    for inputs in site.probes
                    for _, value in sorted(session.run(inputs).items())
                ]

        with _told_apart():
            found = plant(
                self._fault,
                artifact,
                rng=self._rng,
                out_dir=site.out_dir,
                outputs=outputs,
                stopped=(BackendError,),
            )
        self._note(found.injection)
        return found.artifact

    def _note(self, injection: Injection) -> None:
        layer = injection.layer if self._fault.has_layer else None
        self._plant(layer, injection.detail, injection.also)

    def _plant(self, layer: str | None, detail: str, also: Sequence[str] = ()) -> None:
        self.planted = Planted(fault=self._fault.name, layer=layer, detail=detail, also=tuple(also))


@contextmanager
def _told_apart() -> Iterator[None]:
    """What an injector raises must not be taken for a candidate that fails."""
    try:
        yield
    except Equivalent as error:
        raise EquivalentError(str(error)) from error
    except NotHere as error:
        raise NotApplicableError(str(error)) from error
    except MutationError:
        raise
    except Exception as error:
        raise MutationError(f"the injector failed: {type(error).__name__}: {error}") from error
