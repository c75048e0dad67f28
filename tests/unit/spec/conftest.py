from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = """\
version: 1
model:
  id: digits
  task: image-classification
  reference: {source: onnx, path: models/digits.onnx}
  inputs: {image: {shape: [N, 1, 8, 8], dtype: float32}}
data:
  calibration: {source: sklearn-digits, split: train, samples: 64}
  evaluation: {source: sklearn-digits, split: test}
quantizations:
  static: {method: onnxruntime-static}
  dynamic: {method: onnxruntime-dynamic}
targets:
  ort: {backend: onnxruntime}
  ort-4: {backend: onnxruntime, threads: 4}
tolerances:
  numerical: {relative_mse: "< 1 %", sqnr: [">= 20 dB", ">= baseline - 1 dB"]}
  device: {top1_drop: "< 1 pp"}
"""


@pytest.fixture
def small() -> str:
    return SMALL


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write a file under the current directory, which is the test's own."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file
