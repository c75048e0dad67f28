"""The real network of the benchmarks, as a float ONNX file, a QDQ file and images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.core.artifact import Artifact, Format
from gate.core.case import Case
from gate.core.tensors import TensorMap
from gate.data.samples import open_samples
from gate.models.base import LoadedModel
from gate.models.conversions import convert
from gate.plugins import load
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.bench.harness import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A float model and its candidate."""

    case: Case
    floating: LoadedModel
    candidate: Artifact


def case(spec: str, select: str) -> Case:
    """The one case of a shipped spec that ``select`` names."""
    (found,) = plan(load_specs([str(ROOT / "specs" / spec)]), [select]).cases
    return found


def images(chosen: Case, count: int) -> npt.NDArray[np.float32]:
    """The first ``count`` evaluation inputs, preprocessed."""
    evaluation, _ = open_samples(chosen.data, chosen.model.inputs)
    (name,) = chosen.model.inputs
    parts = [batch.inputs[name] for batch in evaluation.batches(16, limit=count)]
    return np.concatenate(parts)


def quantized(chosen: Case, folder: Path) -> Network:
    """Load, export and quantize as a run does, without the engine."""
    source = load("sources", chosen.model.source)
    native = source.load(chosen.model, seed=chosen.run.seed)
    floating = native
    if native.format is not Format.ONNX:
        floating = convert(native, Format.ONNX, out_dir=folder)
    _, calibration = open_samples(chosen.data, chosen.model.inputs)
    assert calibration is not None

    def batches() -> Iterator[TensorMap]:
        return (batch.inputs for batch in calibration.batches(8))

    out = folder / "candidate"
    out.mkdir()
    candidate = load("quantizers", chosen.quantization.method).quantize(
        floating,
        batches,
        options=chosen.quantization.options,
        target=chosen.target,
        seed=0,
        out_dir=out,
    )
    return Network(case=chosen, floating=floating, candidate=candidate)
