"""A case of ONNX Runtime over the small convolutional network, beside whose file its samples lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gate.core.case import Case
from gate.spec.load import load_specs
from gate.spec.matrix import plan


def cnn_case(file: Path, quantization: Mapping[str, Any], **more: Any) -> Case:
    """Write the spec to ``file`` and plan it; ``more`` are other keys of the spec."""
    spec = {
        "version": 1,
        "id": "cnn",
        "model": {
            "id": "cnn",
            "task": "other",
            "reference": {"source": "onnx", "path": "cnn.onnx"},
            "inputs": {"image": {"shape": ["N", 3, 16, 16], "dtype": "float32"}},
        },
        "data": {
            "calibration": {"source": "npz", "path": "b.npz", "inputs": "image"},
            "evaluation": {"source": "npz", "path": "a.npz", "inputs": "image"},
        },
        "quantizations": {"auto": quantization},
        "targets": {"ort": {"backend": "onnxruntime"}},
        **more,
    }
    file.write_text(yaml.safe_dump(spec))
    (case,) = plan(load_specs([str(file)])).cases
    return case
