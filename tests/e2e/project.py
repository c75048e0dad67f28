"""A project of its own in a temporary folder, on which the real command line is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gate.core.artifact import Artifact, Format
from gate.core.tensors import TensorMap
from gate.data.samples import open_samples
from gate.models.conversions import convert
from gate.plugins import load
from gate.spec.load import load_specs
from gate.spec.matrix import plan

ROOT = Path(__file__).resolve().parents[2]

QUIET = {"CI": "", "NO_COLOR": "1"}
SPEC = """
version: 1
id: digits
model:
  id: digits-cnn
  task: image-classification
  reference:
    source: python
    entry: "specs.models.digits:cnn"
    weights: {{path: {weights}}}
  inputs: {{image: {{shape: [N, 1, 8, 8], dtype: float32}}}}
data:
  preprocess: {{reshape: [1, 8, 8], scale: 0.0625}}
  calibration: {{source: sklearn-digits, split: train, samples: 256, seed: 0}}
  evaluation: {{source: sklearn-digits, split: test}}
quantizations:
  given: {{method: candidate, path: candidate.onnx}}
  slept:
    method: python
    entry: "tests.e2e.entries:static_with_sleep"
    options: {{sleep_seconds: {sleep}}}
targets:
  ort-cpu: {{backend: onnxruntime, threads: 1}}
  torch-x86: {{backend: torch, engine: x86, threads: 1}}
matrix:
  include:
    - {{quantization: given, target: ort-cpu}}
    - {{quantization: slept, target: torch-x86}}
run: {{timing: {{warmup: 2, rounds: 20, processes: 2}}}}
baseline: require
tolerances:
  numerical: {{finite: true, sqnr: [">= 28 dB", ">= baseline - 1 dB"], top1_agreement: ">= 99 %"}}
  layers:
    shapes: equal
    qparams: true
    quantized_ops: "== 100 %"
    sqnr: [">= 22 dB", ">= baseline - 1 dB"]
    worst_channel_nmse: "< 10 %"
  device: {{top1_drop: "< 1 pp", speedup: ">= 0.05 x", size: "<= baseline + 2 %"}}
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    output: str
    report: Any
    """The parsed ``--json`` output; None where there is none."""


class Project:
    """Folder with a ``pyproject.toml``, a spec over the shipped digits network and a cache."""

    def __init__(self, folder: Path, *, sources: Path = ROOT) -> None:
        """``sources`` is where ``gate`` and the entries are imported from."""
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(sources),
            "SHIPPED": str(ROOT),
            **QUIET,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyproject.toml").write_text(
            '[tool.gate]\ntrusted = ["specs", "tests.e2e.entries"]\n'
        )
        self.spec = folder / "digits.yaml"
        self.candidate = folder / "candidate.onnx"
        self.write_spec(sleep_seconds=0.0)

    def write_spec(self, *, sleep_seconds: float) -> None:
        # Through a variable: the shipped weights are outside of a repository that a test makes.
        weights = '"${SHIPPED}/specs/weights/digits_cnn.safetensors"'
        self.spec.write_text(SPEC.format(weights=weights, sleep=sleep_seconds))

    def gate(self, *arguments: str, json_output: bool = False) -> Finished:
        """Run ``gate`` in the folder, as a user would."""
        command = [sys.executable, "-m", "gate.cli.main", *arguments]
        done = subprocess.run(
            [*command, "--json"] if json_output else command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        report = json.loads(done.stdout) if json_output and done.stdout.strip() else None
        return Finished(done.returncode, done.stdout + done.stderr, report)

    def run(self, select: str) -> Finished:
        """``gate run --json`` of one case."""
        return self.gate("run", self.spec.name, "--select", select, json_output=True)


def make_candidate(
    out: Path, *, constant_calibration: bool = False, keep_float: tuple[str, ...] = ()
) -> Artifact:
    """The shipped per-channel candidate of the digits network, made by the gate's own quantizer."""
    shipped = load_specs([str(ROOT / "specs" / "digits_cnn.yaml")])
    (case,) = plan(shipped, ["*ort-per-channel@*"]).cases
    native = load("sources", case.model.source).load(case.model, seed=0)
    floating = convert(native, Format.ONNX, out_dir=out)
    _, calibration = open_samples(case.data, case.model.inputs)
    assert calibration is not None

    def batches() -> Iterator[TensorMap]:
        for batch in calibration.batches(32):
            if constant_calibration:
                yield {name: np.full_like(x, 0.01) for name, x in batch.inputs.items()}
            else:
                yield batch.inputs

    made = out / "made"
    made.mkdir()
    quantizer = load("quantizers", "onnxruntime-static")
    options = {**case.quantization.options, "keep_float": list(keep_float)}
    artifact: Artifact = quantizer.quantize(
        floating, batches, options=options, target=case.target, seed=0, out_dir=made
    )
    return artifact
