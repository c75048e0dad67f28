"""Detection and transcription through the command line: from ONNX files and labels to verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
ALPHABET = "_abcdefghijklmnopqrstuvwxyz "
SAMPLES, PLACES, CLASSES, SPEAKERS = 48, 24, 3, 12

COMMON = """
version: 1
quantizations: {dynamic: {method: onnxruntime-dynamic}}
targets: {ort: {backend: onnxruntime}}
run: {batch: 20, timing: {warmup: 0, rounds: 2, processes: 1}}
baseline: ignore
"""
DETECTION = """
extends: _common.yaml
model:
  id: boxes
  task: detection
  reference: {source: onnx, path: boxes.onnx}
  inputs: {x: {shape: [N, 24, 8], dtype: float32}}
  decoding: {layout: cxcywh-objectness-classes, overlap: 0.5}
data:
  evaluation: {source: npz, path: boxes.npz, inputs: x, labels: boxes}
tolerances:
  device:
    map_50: ">= 50 %"
    map: ">= 20 %"
    map_drop: "< 20 pp"
    map_50_drop: {bound: "< 20 pp", mode: certify}
"""
TRANSCRIPTION = """
extends: _common.yaml
model:
  id: texts
  task: transcription
  reference: {source: onnx, path: texts.onnx}
  inputs: {x: {shape: [N, 40, 28], dtype: float32}}
  decoding: {alphabet: "_abcdefghijklmnopqrstuvwxyz "}
data:
  evaluation: {source: npz, path: texts.npz, inputs: x, labels: texts, speakers: who}
metrics:
  sharpness: {entry: "tests.e2e.task_entries:sharpness", direction: higher}
  blanks: {entry: "tests.e2e.task_entries:share_of_blanks", direction: lower, aggregate: ratio}
tolerances:
  device:
    wer: "<= 20 %"
    cer: "<= 10 %"
    wer_rise: "<= 10 pp"
    cer_rise: {bound: "< 10 pp", mode: certify}
    custom: {sharpness: ">= 0.9 x reference", sharpness_drop: "< 0.1", blanks: "<= 0.75"}
"""


def linear(path: Path, shape: tuple[int, ...], size: int) -> None:
    """A network of one matrix product that nearly leaves its input as it is."""
    generator = np.random.default_rng(0)
    weight = np.eye(size) + generator.normal(0.0, 1e-3, (size, size))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="head")
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def boxes() -> dict[str, np.ndarray]:
    """Rows near up to three true boxes an image; the truth is padded with class -1."""
    generator = np.random.default_rng(1)
    rows = np.zeros((SAMPLES, PLACES, 5 + CLASSES), np.float32)
    truth = np.full((SAMPLES, 3, 5), -1.0)
    for image in range(SAMPLES):
        count = int(generator.integers(1, 4))
        centre, size = (generator.uniform(a, b, (count, 2)) for a, b in ((0.2, 0.8), (0.2, 0.4)))
        kinds = generator.integers(0, CLASSES, count)
        truth[image, :count] = np.concatenate([kinds[:, None], centre, size], axis=1)
        for place in range(PLACES):
            own = place % count
            rows[image, place, :4] = [*centre[own], *size[own]]
            rows[image, place, :4] += generator.normal(0.0, 0.01, 4)
            rows[image, place, 4] = generator.uniform(0.3, 1.0)
            rows[image, place, 5 + kinds[own]] = 1.0
    return {"x": rows, "boxes": truth}


def texts() -> dict[str, np.ndarray]:
    """Scores whose greedy answer is each text."""
    generator = np.random.default_rng(2)
    said = [
        " ".join("".join(generator.choice(list(ALPHABET[1:27]), 3)) for _ in range(3))
        for _ in range(SAMPLES)
    ]
    rows = generator.normal(0.0, 0.02, (SAMPLES, 40, len(ALPHABET))).astype(np.float32)
    for row, text in zip(rows, said, strict=True):
        symbols = [s for c in text for s in (ALPHABET.index(c), 0)]
        row[np.arange(len(symbols)), symbols] += 1.0
        row[len(symbols) :, 0] += 1.0
    return {"x": rows, "texts": np.array(said), "who": np.arange(SAMPLES) % SPEAKERS}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["tests.e2e.task_entries"]\n')
    specs = folder / "specs"
    specs.mkdir()
    (specs / "_common.yaml").write_text(COMMON)
    (specs / "boxes.yaml").write_text(DETECTION)
    (specs / "texts.yaml").write_text(TRANSCRIPTION)
    wrong = TRANSCRIPTION.replace("share_of_blanks", "wrong_size").replace(
        ', blanks: "<= 0.75"', ""
    )
    (specs / "wrong.yaml").write_text(f"id: wrong{wrong}")
    linear(specs / "boxes.onnx", (PLACES, 5 + CLASSES), 5 + CLASSES)
    linear(specs / "texts.onnx", (40, len(ALPHABET)), len(ALPHABET))
    np.savez(specs / "boxes.npz", **boxes())
    np.savez(specs / "texts.npz", **texts())
    done = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", "run", "specs", "--json", "--jobs", "2"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", "judge", ".gate/runs/latest"],
        cwd=folder,
        env={**os.environ, "CI": "", "NO_COLOR": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    # A case that is inconclusive without a fault is not drilled.
    certain = TRANSCRIPTION.replace('{bound: "< 10 pp", mode: certify}', '"< 10 pp"')
    (folder / "certain.yaml").write_text(
        certain.replace("_common.yaml", "specs/_common.yaml").replace(
            "path: texts.", "path: specs/texts."
        )
    )
    drilled = subprocess.run(
        [
            sys.executable, "-m", "gate.cli.main", "drill", "certain.yaml", "--json", "--quiet",
            "--faults", "channel_zeroed",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert drilled.stdout, drilled.stderr
    return json.loads(done.stdout), shown.stdout, json.loads(drilled.stdout)


def checks(report, case):
    (found,) = [c for c in report[0]["cases"] if c["id"].startswith(case)]
    return {c["rule"]: c for c in found["checks"] if c["tier"] == "device"}


def test_boxes_are_decoded_matched_and_bounded(report):
    found = checks(report, "boxes/")
    assert found["map_50"]["status"] == "PASS"
    assert found["map_50"]["value"] > 50.0
    assert found["map"]["status"] == "PASS"
    assert 20.0 < found["map"]["value"] < found["map_50"]["value"]
    assert found["map_drop"]["status"] == "PASS"
    assert f"exact, on these {SAMPLES} samples" in found["map_drop"]["message"]
    certified = found["map_50_drop"]
    assert certified["status"] == "INCONCLUSIVE"
    assert f"{SAMPLES} images, a certificate takes 300" in certified["message"]


def test_texts_are_decoded_aligned_and_bounded(report):
    found = checks(report, "texts/")
    assert found["wer"]["status"] == found["wer_rise"]["status"] == "PASS"
    assert found["cer"]["status"] == "PASS"
    assert 0.0 <= found["cer"]["value"] <= found["wer"]["value"]
    assert found["cer_rise"]["status"] == "INCONCLUSIVE"
    assert f"{SPEAKERS} clusters, a certificate takes 20" in found["cer_rise"]["message"]
    assert found["custom.sharpness"]["value"] == pytest.approx(0.9, abs=0.1)
    assert found["custom.sharpness"]["status"] == found["custom.sharpness_drop"]["status"] == "PASS"
    assert found["custom.blanks"]["value"] == pytest.approx(29 / 40, abs=0.01)


def test_a_drill_measures_metrics_of_the_specs_own(report):
    (case,) = report[2]["cases"]
    (fault,) = case["faults"]
    metrics = {m["metric"] for m in fault["metrics"]}
    assert {"device.custom.sharpness", "device.custom.blanks", "device.wer"} <= metrics
    assert "device.custom.sharpness_drop" not in metrics


def test_an_entry_that_gives_something_else_ends_the_case(report):
    (wrong,) = [c for c in report[0]["cases"] if c["id"].startswith("wrong/")]
    assert wrong["status"] == "ERROR"
    assert "wrong_size returned shape [] for 20 samples, expected [20, 2]" in json.dumps(wrong)


def test_the_table_shows_what_is_lost_at_each_task(report):
    assert " pp map_50" in report[1]
    assert " pp wer" in report[1]
