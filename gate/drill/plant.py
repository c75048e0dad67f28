"""Plants a fault into a copy of a candidate file, in a place where it has an effect."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.artifact import Artifact, Format
from gate.core.tensors import Array
from gate.drill import inject
from gate.drill.base import ArtifactInjector, Equivalent, Fault, Injection, NotHere
from gate.drill.torch_state import OPTIONS
from gate.models.hashing import files_sha256
from gate.models.torch_runtime import quiet_torch_ao

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
        Equivalent: planted in any of the places tried (at most ``TRIES``), it changes no output bit.
    """
    healthy = _Candidate.read(artifact)
    injector: ArtifactInjector = inject.load(fault.name)
    layers = injector.places(healthy.content)
    if not layers:
        raise NotHere(f"nothing in this {artifact.format.value} file that it could be planted in")
    expected = [_bits(value) for value in outputs(artifact)]
    refusals: dict[str, list[str]] = {}
    unchanged: list[str] = []
    stopping: Planted | None = None
    tries = 0
    for place in rng.permutation(len(layers)).tolist():
        if tries == TRIES:
            break
        content = healthy.copy()
        name = layers[place] or "the model"
        try:
            injection = injector(content, rng, place=place)
        except NotHere as reason:
            refusals.setdefault(str(reason), []).append(name)
            continue
        tries += 1
        broken = healthy.write(content, out_dir / f"{fault.name}-{tries}")
        try:
            got = [_bits(value) for value in outputs(broken)]
        except stopped as error:
            refusals.setdefault(f"does not run ({error})", []).append(name)
            if fault.stops and stopping is None:
                stopping = Planted(artifact=broken, injection=injection, runs=False)
            continue
        if fault.changes != "outputs" or got != expected:
            return Planted(artifact=broken, injection=injection, runs=True)
        unchanged.append(name)
    if stopping is not None:
        return stopping
    if unchanged:
        raise Equivalent(f"no output bit changes in {_listed(unchanged)}")
    told = [f"{_listed(where)}: {why}" for why, where in refusals.items()]
    more = f"; and {len(told) - 3} more reasons" if len(told) > 3 else ""
    raise NotHere("; ".join(told[:3]) + more)


def _listed(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return ", ".join(shown[:3]) + more


def _bits(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """The parsed content of a candidate file."""

    artifact: Artifact
    content: Any

    @classmethod
    def read(cls, artifact: Artifact) -> _Candidate:
        if artifact.format is Format.ONNX:
            import onnx

            return cls(artifact=artifact, content=onnx.load_model(str(artifact.path)))
        if artifact.format is not Format.TORCH_QUANTIZED:
            raise NotHere(f"no fault can be planted in files of format {artifact.format.value}")
        import torch

        try:
            with quiet_torch_ao():  # rebuilding a quantized tensor goes through a deprecated class
                content = torch.load(artifact.path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError) as error:
            raise NotHere(f"{artifact.path.name} is no state of tensors: {error}") from error
        if not isinstance(content, dict) or "state" not in content:
            raise NotHere(f"{artifact.path.name} is no quantized state")
        return cls(artifact=artifact, content={**content, OPTIONS: dict(artifact.options)})

    def copy(self) -> Any:
        """A copy of its own; tensors of a state are replaced, never written into."""
        if self.artifact.format is Format.TORCH_QUANTIZED:
            return dict(self.content)
        copy = type(self.content)()
        copy.CopyFrom(self.content)
        return copy

    def write(self, content: Any, folder: Path) -> Artifact:
        """Under the old name: torch writes it into the file, many times, and the size is judged."""
        folder.mkdir(exist_ok=True)
        path = folder / self.artifact.path.name
        if self.artifact.format is Format.TORCH_QUANTIZED:
            import torch

            torch.save({key: part for key, part in content.items() if key != OPTIONS}, path)
        else:
            import onnx

            onnx.save_model(content, str(path))
        return replace(
            self.artifact, path=path, sha256=files_sha256([path]), size_bytes=path.stat().st_size
        )
