"""A whole case of a real network against the bare loops that it cannot avoid.

The bare side is what a careful script would do in one process with the libraries alone: make the
candidate, then reference once and candidate once over the evaluation images, both models' layers on
the layer samples, and as many timed runs as the gate took to come to its verdict. A cold run is held against all of that; a second run, which
finds candidate and reference outputs in the cache, against the loops alone.

ResNet-18 is given as an ONNX file and sees crops of two photographs; EfficientNet-Lite0 is given as
a Python entry, whose module has to be built in every run, and sees real images where there are any.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from gate.run.store import read_run
from tests.bench.harness import ROOT, Row, child, data_root, wall_seconds

IMAGES = 400
ROUNDS = 3

RESNET18 = """
version: 1
baseline: ignore
model:
  id: resnet18
  task: other
  reference: {{source: onnx, path: {folder}/resnet18.onnx}}
  inputs: {{image: {{shape: [N, 3, 224, 224], dtype: float32}}}}
data:
  preprocess:
    {{decode: rgb, resize: [224, 224], interpolation: bilinear, scale: 0.00392156862745098,
      mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
  calibration: {{source: python, entry: "specs.data.photos:crops", kwargs: {{count: 480}}, samples: 32, seed: 0}}
  evaluation: {{source: python, entry: "specs.data.photos:crops", kwargs: {{count: 480}}, samples: {images}}}
quantizations:
  ort-static: {{method: onnxruntime-static, weights: int8/per-channel, activations: uint8}}
targets:
  ort-cpu: {{backend: onnxruntime, threads: 1}}
run: {{batch: 16, layer_samples: 8, timing: {{warmup: 5, rounds: 20}}}}
tolerances:
  numerical: {{sqnr: ">= 15 dB"}}
  layers: {{shapes: equal, quantized_ops: ">= 95 %"}}
  device: {{speedup: ">= 1 x", size: "<= 0.3 x reference"}}
"""
LITE0 = """
version: 1
extends: [{specs}/efficientnet_lite0.yaml]
baseline: ignore
data: {{evaluation: {{samples: {images}}}}}
"""


def run() -> list[Row]:
    """Medians of three rounds; each round has a cold run, a second run and the bare loops."""
    real = data_root()
    rows = _network("ResNet-18", RESNET18, "*/ort-static@ort-cpu")
    if real is not None:
        os.environ["GATE_DATA"] = str(real)
        rows += _network("EfficientNet-Lite0", LITE0, "*/ptq-per-channel@ort-cpu")
    return rows


def _launches(run: Path) -> int:
    """Processes that the run timed the case in."""
    (result,) = read_run(run)
    assert result.observation is not None
    assert result.observation.timing is not None
    return result.observation.timing.launch[-1] + 1


def _network(title: str, text: str, select: str) -> list[Row]:
    gate = str(Path(sys.executable).with_name("gate"))
    seconds: dict[str, list[float]] = {"cold": [], "second": [], "make": [], "loops": []}
    with tempfile.TemporaryDirectory() as place:
        spec = Path(place) / "network.yaml"
        spec.write_text(text.format(specs=ROOT / "specs", folder=place, images=IMAGES))
        if "source: onnx" in text:
            child("tests.bench.case_export", folder=place)
        for index in range(ROUNDS):
            command = [gate, "run", str(spec), "--select", select, "--quiet"]
            command += ["--out", f"{place}/run{index}"]
            os.environ["GATE_CACHE"] = f"{place}/cache{index}"
            seconds["cold"].append(wall_seconds(command))
            seconds["second"].append(wall_seconds([*command[:-1], f"{place}/again{index}"]))
            launches = _launches(Path(place) / f"again{index}")
            bare = child("tests.bench.case_bare", spec=spec, select=select, launches=launches)
            for name, value in bare.items():
                seconds[name].append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    note = "whole processes, imports included, one thread each"
    return [
        Row(
            bench="case",
            what=f"{title}, {IMAGES} images, cold run / (make + loops)",
            ours=median["cold"],
            other=median["make"] + median["loops"],
            unit="s",
            target="ratio <= 1.15",
            limit=1.15,
            note=note,
        ),
        Row(
            bench="case",
            what=f"{title}, {IMAGES} images, second run / loops",
            ours=median["second"],
            other=median["loops"],
            unit="s",
            target="ratio <= 0.6",
            limit=0.6,
            note=note,
        ),
    ]
