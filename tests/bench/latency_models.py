"""Two int8 networks for the live latency benchmark: identical copies, and one with 5 % more work.

A chain of equal integer convolutions: 63 layers are five per cent more work than 60 by construction,
on any machine. The float reference beside them is tiny, to spend no time on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from gate.core.artifact import Artifact, Format
from gate.core.baseline import Baseline, BaselineFound, Provenance
from gate.core.case import Case
from gate.core.observation import Observation
from gate.models.base import LoadedModel
from gate.models.onnx_files import inspect_onnx
from gate.plugins import load
from gate.run.prepare import Prepared
from gate.spec.load import load_specs
from gate.spec.matrix import plan

LAYERS, LAYERS_SLOWER = 60, 63
CHANNELS, SIDE = 32, 28

SPEC = """
version: 1
baseline: require
model:
  id: chain
  task: other
  reference: {{source: onnx, path: reference.onnx}}
  inputs: {{x: {{shape: [N, {channels}, {side}, {side}], dtype: float32}}}}
data:
  evaluation: {{source: npz, path: none.npz, inputs: {{x: x}}}}
quantizations: {{int8: {{method: candidate, path: candidate.onnx}}}}
targets: {{cpu: {{backend: onnxruntime, threads: 1}}}}
tolerances: {{device: {{latency_p50: "<= baseline + 5 %"}}}}
"""


def write_chain(path: Path, layers: int, note: str) -> Path:
    """A chain of ``layers`` integer convolutions; ``note`` makes the file, not the work, another."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
        "w": rng.integers(-20, 20, (CHANNELS, CHANNELS, 3, 3)).astype(np.int8),
        "w_scale": np.array(0.01, np.float32),
        "w_zero": np.array(0, np.int8),
    }
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q0"], name="in")]
    for i in range(layers):
        inputs = [f"q{i}", "scale", "zero", "w", "w_scale", "w_zero", "scale", "zero"]
        nodes.append(
            helper.make_node(
                "QLinearConv", inputs, [f"q{i + 1}"], name=f"conv{i}", pads=[1, 1, 1, 1]
            )
        )
    nodes.append(
        helper.make_node("DequantizeLinear", [f"q{layers}", "scale", "zero"], ["y"], name="out")
    )
    _save(path, nodes, constants, note)
    return path


def write_reference(path: Path) -> Path:
    """One float operation of the same interface."""
    _save(path, [helper.make_node("Relu", ["x"], ["y"], name="relu")], {}, "reference")
    return path


def _save(path: Path, nodes: list[object], constants: dict[str, np.ndarray], note: str) -> None:
    shape = ["N", CHANNELS, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        doc_string=note,
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(path),
    )


def inputs() -> dict[str, np.ndarray]:
    """One sample."""
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((1, CHANNELS, SIDE, SIDE)).astype(np.float32)}


def case(folder: Path) -> Case:
    """The benchmark's one case."""
    (folder / "chain.yaml").write_text(SPEC.format(channels=CHANNELS, side=SIDE))
    (found,) = plan(load_specs([str(folder / "chain.yaml")])).cases
    return found


def artifact(path: Path) -> Artifact:
    """A file as a candidate."""
    parts = inspect_onnx(path)
    return Artifact(
        format=Format.ONNX,
        path=path,
        sha256=parts.sha256,
        size_bytes=parts.size_bytes,
        producer="candidate",
    )


def prepared(chosen: Case, reference: Path, candidate: Path) -> Prepared:
    """What a worker would have made of the case."""
    parts = inspect_onnx(reference)
    model = LoadedModel(
        format=Format.ONNX,
        sha256=parts.sha256,
        size_bytes=parts.size_bytes,
        spec=chosen.model,
        path=reference,
    )
    return Prepared(
        native=model,
        base=model,
        reference=model,
        reference_target=chosen.target,
        artifact=artifact(candidate),
    )


def facts(chosen: Case, base: Artifact, made: Prepared) -> tuple[Observation, BaselineFound]:
    """An observation that holds no times yet, and a baseline whose artifact is ``base``."""
    environment = load("backends", chosen.target.backend).environment(chosen.target)
    seen = Observation(
        case_id=chosen.id,
        spec_digest=chosen.spec_digest,
        data_digest="0" * 64,
        calibration_digest=None,
        environment=environment,
        artifacts={"reference": made.reference.sha256, "candidate": made.artifact.sha256},
        samples_planned=1,
        samples_evaluated=1,
    )
    baseline = Baseline(
        case_id=chosen.id,
        environment=environment,
        spec_digest=chosen.spec_digest,
        data_digest=seen.data_digest,
        artifacts={**seen.artifacts, "candidate": base.sha256},
        pin=None,
        values=(),
        layers=(),
        provenance=Provenance(reason="", commit="", author="", date="", gate_version=""),
    )
    return seen, BaselineFound(baseline=replace(baseline))
