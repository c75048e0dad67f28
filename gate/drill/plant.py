"""Plants a fault into a copy of a candidate file, in a place where it has an effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.artifact import Artifact, Format
from gate.core.tensors import Array
from gate.drill import inject
from gate.drill.base import ArtifactInjector, Equivalent, Fault, Injection, NotHere

if TYPE_CHECKING:
    import numpy as np

TRIES = 12
"""Places that are tried before a fault is called equivalent: each is a run of the probe."""

Outputs = Callable[[Artifact], Sequence[Array]]
"""Opens a candidate and runs the probe inputs on it: all outputs, in a fixed order. The probe should
hold a batch of several samples and a batch of one, as some faults are in one of them alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A broken candidate."""

    artifact: Artifact
    injection: Injection
    runs: bool
    """False where it no longer opens or runs (only faults that may stop a model)."""


def plant(
    fault: Fault,
    artifact: Artifact,
    *,
    rng: np.random.Generator,
    out_dir: Path,
    outputs: Outputs,
    stopped: tuple[type[Exception], ...] = (),
) -> Planted:
    """Write a broken copy of ``artifact`` into ``out_dir``.

    Args:
        fault: of the point ``artifact`` or ``reference``.
        artifact: the healthy file.
        rng: draws the place and whatever else is left to chance.
        out_dir: an existing folder.
        outputs: runs a candidate on the probe inputs.
        stopped: what ``outputs`` raises where a candidate does not open or run.

    Raises:
        NotHere: the candidate has no place for the fault.
        Equivalent: planted in any of the places tried, it changes no output bit.
    """
    healthy = _Candidate.read(artifact)
    injector: ArtifactInjector = inject.load(fault.name)
    layers = injector.places(healthy.content)
    if not layers:
        raise NotHere(f"{fault.name}: the candidate has no place for it")
    expected = [_bits(value) for value in outputs(artifact)] if fault.changes == "outputs" else []
    refusals: list[str] = []
    unchanged: list[str] = []
    stopping: Planted | None = None
    for place in rng.permutation(len(layers)).tolist()[:TRIES]:
        content = healthy.copy()
        name = layers[place] or "the model"
        try:
            injection = injector(content, rng, place=place)
        except NotHere as reason:
            refusals.append(f"{name}: {reason}")
            continue
        broken = healthy.write(content, out_dir, fault.name)
        if fault.changes != "outputs":
            return Planted(artifact=broken, injection=injection, runs=True)
        try:
            got = [_bits(value) for value in outputs(broken)]
        except stopped as error:
            refusals.append(f"{name}: does not run ({error})")
            if fault.stops and stopping is None:
                stopping = Planted(artifact=broken, injection=injection, runs=False)
            continue
        if got != expected:
            return Planted(artifact=broken, injection=injection, runs=True)
        unchanged.append(name)
    if stopping is not None:
        return stopping
    if unchanged:
        raise Equivalent(f"{fault.name}: no output bit changes in {', '.join(unchanged)}")
    raise NotHere(f"{fault.name}: {'; '.join(refusals)}")


def _bits(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """The parsed content of a candidate file."""

    artifact: Artifact
    content: Any

    @classmethod
    def read(cls, artifact: Artifact) -> _Candidate:
        if artifact.format is not Format.ONNX:
            raise NotHere(f"faults are planted in ONNX files, not in {artifact.format.value}")
        import onnx

        return cls(artifact=artifact, content=onnx.load_model(str(artifact.path)))

    def copy(self) -> Any:
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(self.content)
        return copy

    def write(self, content: Any, out_dir: Path, name: str) -> Artifact:
        import onnx

        from gate.models.onnx_files import inspect_onnx

        path = out_dir / f"{name}.onnx"
        onnx.save_model(content, str(path))
        parts = inspect_onnx(path)
        return replace(self.artifact, path=path, sha256=parts.sha256, size_bytes=parts.size_bytes)
