"""A whole case of a real network against the bare loops that it cannot avoid.

The bare loops are what a careful script would do in one process: reference once and candidate once
over the evaluation images, both models' layers on the layer samples, the timing rounds. Reading and
preprocessing the images and making the candidate is part of both sides on the first run; on the
second run the gate has candidate and reference outputs in its cache, and the bare loops are what
they were.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.harness import ROOT, Row, child, data_root, environment, wall_seconds

IMAGES = 256
ROUNDS = 3


def run() -> list[Row]:
    """Medians of three rounds; each round has a cold run, a second run and the bare loops."""
    spec = "efficientnet_lite0.yaml" if data_root() is not None else "resnet18.yaml"
    select = "*ptq-per-channel@*" if data_root() is not None else "*onnx*@ort*"
    gate = str(Path(sys.executable).with_name("gate"))
    seconds: dict[str, list[float]] = {"cold": [], "second": [], "bare": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            narrowed = _narrowed(Path(folder), spec)
            command = [gate, "run", str(narrowed), "--select", select, "--quiet"]
            command += ["--out", f"{folder}/run", "--baselines", f"{folder}/baselines"]
            place = {"GATE_CACHE": f"{folder}/cache", **_data()}
            for name in ("cold", "second"):
                seconds[name].append(wall_seconds(command, ok=(0, 1), extra=place))
            made = child("tests.bench.case_bare", spec=narrowed, select=select, images=IMAGES)
            seconds["bare"].append(made["seconds"])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        Row(
            bench="case",
            what=f"{Path(spec).stem}, {IMAGES} images, {name} run",
            ours=median[name],
            other=median["bare"],
            unit="s",
            target=f"ratio <= {limit}",
            limit=limit,
            note="whole process against whole process",
        )
        for name, limit in (("cold", 1.15), ("second", 0.6))
    ]


def _narrowed(folder: Path, spec: str) -> Path:
    """A spec that extends the shipped one and takes ``IMAGES`` evaluation samples."""
    path = folder / spec
    path.write_text(
        f"version: 1\nextends: [{ROOT / 'specs' / spec}]\nbaseline: ignore\n"
        f"data: {{evaluation: {{samples: {IMAGES}}}}}\n"
    )
    return path


def _data() -> dict[str, str]:
    root = data_root()
    return {"GATE_DATA": str(root)} if root is not None else {}


__all__ = ["environment", "run"]
