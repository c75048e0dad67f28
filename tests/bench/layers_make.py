"""Child of ``layers``: make the files that both sides compare. Argument: JSON with folder and images."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.bench.harness import data_root
from tests.bench.models import case, images, quantized


def main() -> None:
    """Write float.onnx, candidate.onnx, inputs.npy and model.json into the folder."""
    arguments = json.loads(sys.argv[1])
    folder = Path(arguments["folder"])
    if data_root() is not None:
        chosen = case("efficientnet_lite0.yaml", "*ptq-per-channel@*")
    else:
        chosen = case("mobilenet_v3_large.yaml", "*onnx*@ort*")
    network = quantized(chosen, folder)
    assert network.floating.path is not None
    shutil.copy(network.floating.path, folder / "float.onnx")
    shutil.copy(network.candidate.path, folder / "candidate.onnx")
    np.save(folder / "inputs.npy", images(chosen, arguments["images"]))
    print(json.dumps({"real": float(data_root() is not None)}))


if __name__ == "__main__":
    main()
