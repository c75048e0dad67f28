"""Child of ``case``: write ResNet-18 as a float ONNX file. Argument: JSON with folder."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from gate.core.artifact import Format
from gate.models.conversions import convert
from gate.plugins import load
from tests.bench.models import case


def main() -> None:
    """Build the shipped network and export it."""
    chosen = case("resnet18.yaml", "*/ort-static@ort-cpu")
    native = load("sources", chosen.model.source).load(chosen.model, seed=chosen.run.seed)
    target = Path(json.loads(sys.argv[1])["folder"]) / "resnet18.onnx"
    with tempfile.TemporaryDirectory() as folder:
        made = convert(native, Format.ONNX, out_dir=Path(folder))
        assert made.path is not None
        shutil.copy(made.path, target)
    print(json.dumps({"bytes": float(target.stat().st_size)}))


if __name__ == "__main__":
    main()
