"""The small project that the pages' commands run in: named as in the pages, real, and quick."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tests.github import project as small

SPEC = """version: 1
id: digits_cnn
model:
  id: digits-mlp
  task: image-classification
  reference: {source: onnx, path: ../digits.onnx}
  inputs: {x: {shape: [N, 64], dtype: float32}}
data:
  evaluation: {source: npz, path: ../digits.npz, inputs: x, labels: labels, samples: 200}
quantizations:
  ort-per-channel: {method: candidate, path: ../per_channel.onnx}
targets:
  ort-cpu: {backend: onnxruntime, threads: 1}
run: {timing: {warmup: 1, rounds: 10, processes: 1}, layer_samples: 4}
baseline: require
tolerances:
  numerical: {finite: true, sqnr: ["> 15 dB", ">= baseline - 1 dB"]}
  layers: {shapes: equal}
  device: {top1_drop: "< 5 pp", size: "<= baseline + 2 %"}
"""

FRAGMENT_BASE = """version: 1
model:
  id: digits
  task: image-classification
  reference: {source: onnx, path: digits.onnx}
  inputs: {image: {shape: [N, 1, 8, 8], dtype: float32}}
data:
  calibration: {source: sklearn-digits, split: train, samples: 64}
  evaluation: {source: sklearn-digits, split: test}
quantizations:
  static: {method: onnxruntime-static}
  ort-static: {method: onnxruntime-static}
  qat-fakequant: {method: onnxruntime-dynamic}
targets:
  ort-cpu: {backend: onnxruntime}
tolerances:
  numerical: {relative_mse: "< 1 %"}
"""


def make(folder: Path) -> Path:
    """Write model, candidate, data, spec and accepted baselines, in a repository with a branch on
    which the candidate gets worse; ``.venv`` is this environment."""
    whole = small.make(folder.parent / "whole")
    folder.mkdir()
    (folder / "specs").mkdir()
    (folder / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    (folder / ".gitignore").write_text(".gate/\n.venv\n")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "specs" / "digits_cnn.yaml").write_text(SPEC)
    shutil.copy(whole / "specs" / "float.onnx", folder / "digits.onnx")
    shutil.copy(whole / "specs" / "per_channel.onnx", folder / "per_channel.onnx")
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)[1200:]
    np.savez(folder / "digits.npz", x=x, labels=digits.target.astype(np.int64)[1200:])
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    small.record(folder)
    _git(folder, "add", ".")
    _git(folder, "commit", "-q", "-m", "Accept the first baselines")
    _git(folder, "tag", "v1.0")
    _git(folder, "checkout", "-q", "-b", "requantize")
    shutil.copy(whole / "specs" / "per_tensor.onnx", folder / "per_channel.onnx")
    _git(folder, "commit", "-q", "-a", "-m", "Quantize per tensor")
    _git(folder, "checkout", "-q", "-")
    return folder


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True)
