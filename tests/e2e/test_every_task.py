"""Each task's metrics through the command line, from a spec and labels to bounds, beside other libraries' figures.

Detection, transcription and metrics of a spec's own are in ``test_tasks``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn import metrics as judges

ROOT = Path(__file__).resolve().parents[2]
RANDOM = np.random.default_rng(0)

COMMON = """
version: 1
quantizations: {dynamic: {method: onnxruntime-dynamic}}
targets: {ort: {backend: onnxruntime}}
run: {batch: 32, timing: {warmup: 0, rounds: 2, processes: 1}}
baseline: ignore
"""
SPEC = """
extends: _common.yaml
model:
  id: %(name)s
  task: %(task)s
  reference: {source: onnx, path: %(name)s.onnx}
  inputs: {x: {shape: [N, %(shape)s], dtype: float32}}
%(decoding)s
data:
  evaluation: {source: npz, path: %(name)s.npz, inputs: x, labels: y}
tolerances:
  device: {%(bounds)s}
"""


def classification() -> dict[str, Any]:
    """Eight classes of twelve samples; of class 2 every third is answered wrong."""
    labels = np.repeat(np.arange(8), 12)
    scores = np.eye(8)[labels] + 0.1 * RANDOM.normal(size=(96, 8))
    wrong = np.flatnonzero(labels == 2)[::3]
    scores[wrong] = np.eye(8)[5]
    right = judges.accuracy_score(labels, scores.argmax(axis=1))
    return {
        "task": "image-classification",
        "x": scores,
        "y": labels,
        "bounds": 'top1: ">= 90 %", top5: ">= 90 %", top1_drop: "< 5 pp", top5_drop: "< 5 pp", '
        'worst_class_drop: "< 20 pp"',
        "values": {"top1": 100 * right, "worst_class_drop": 0.0},
    }


def segmentation() -> dict[str, Any]:
    """A fifth of the pixels answered as the class before; 255 is not counted."""
    mask = RANDOM.integers(0, 4, (40, 6, 6))
    answer = np.where(RANDOM.uniform(size=mask.shape) < 0.2, (mask + 1) % 4, mask)
    mask[:, 0, 0] = 255
    counted = mask != 255
    pairs = mask[counted], answer[counted]
    return {
        "task": "segmentation",
        "x": np.eye(4)[answer],
        "y": mask,
        "decoding": "  decoding: {layout: nhwc, ignore: 255}",
        "bounds": 'miou: ">= 40 %", pixel_accuracy: ">= 70 %", miou_drop: "< 3 pp", '
        'pixel_accuracy_drop: "< 3 pp"',
        "values": {
            "miou": 100 * judges.jaccard_score(*pairs, average="macro"),
            "pixel_accuracy": 100 * judges.accuracy_score(*pairs),
        },
    }


def language() -> dict[str, Any]:
    """Scores of seven tokens at nine places; -100 is not counted."""
    tokens = RANDOM.integers(0, 7, (40, 9))
    scores = 2.0 * np.eye(7)[tokens] + RANDOM.normal(size=(40, 9, 7))
    tokens[:, -1] = -100
    shares = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    counted = tokens != -100
    loss = judges.log_loss(tokens[counted], shares[counted], labels=np.arange(7))
    return {
        "task": "language-modeling",
        "x": scores,
        "y": tokens,
        "bounds": 'perplexity: "<= 20", perplexity_rise: "< 5 %"',
        "values": {"perplexity": np.exp(loss)},
    }


def verification() -> dict[str, Any]:
    """Embeddings of fifteen people, four each; cosine of every pair."""
    people = np.repeat(np.arange(15), 4)
    embeddings = np.eye(16)[people] + 0.35 * RANDOM.normal(size=(60, 16))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.triu_indices(60, 1)
    likeness = (unit @ unit.T)[first, second]
    accepted, found, _ = judges.roc_curve(people[first] == people[second], likeness)
    place = np.argmin(np.abs(accepted - (1 - found)))
    return {
        "task": "verification",
        "x": embeddings,
        "y": people,
        "decoding": "  decoding: {similarity: cosine}",
        "bounds": 'eer: "<= 40 %", eer_rise: "< 5 pp"',
        "values": {"eer": 50 * (accepted[place] + 1 - found[place])},
    }


def anomaly() -> dict[str, Any]:
    labels = np.arange(80) % 2
    inputs = 0.3 * RANDOM.normal(size=(80, 8))
    inputs[:, 0] = labels + RANDOM.normal(size=80)
    return {
        "task": "anomaly-detection",
        "x": inputs,
        "y": labels,
        "outputs": 1,
        "bounds": 'roc_auc: ">= 50 %", auc_drop: "< 5 pp"',
        "values": {"roc_auc": 100 * judges.roc_auc_score(labels, inputs[:, 0])},
    }


def regression() -> dict[str, Any]:
    wanted = 5 * RANDOM.normal(size=(60, 3))
    given = wanted + RANDOM.normal(size=(60, 3))
    return {
        "task": "regression",
        "x": given,
        "y": wanted,
        "bounds": 'mae: "<= 2", rmse: "<= 3", mae_rise: "< 10 %", rmse_rise: "< 10 %"',
        "values": {
            "mae": judges.mean_absolute_error(wanted, given),
            "rmse": judges.root_mean_squared_error(wanted, given),
        },
    }


MAKERS = (classification, segmentation, language, verification, anomaly, regression)
TASKS = {maker.__name__: maker() for maker in MAKERS}


def write(folder: Path, name: str, made: dict[str, Any]) -> None:
    """A network of one matrix product that leaves (the first of) its inputs nearly as they are."""
    x = made["x"].astype(np.float32)
    size, outputs = x.shape[-1], made.get("outputs", x.shape[-1])
    weight = np.eye(size, outputs) + RANDOM.normal(0.0, 1e-4, (size, outputs))
    shape = list(x.shape[1:-1])
    values = [
        helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", *shape, length])
        for value, length in (("x", size), ("z", outputs))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"], name="head")],
        "net",
        values[:1],
        values[1:],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    np.savez(folder / f"{name}.npz", x=x, y=made["y"])
    told = {"name": name, "decoding": "", **made, "shape": ", ".join(map(str, [*shape, size]))}
    (folder / f"{name}.yaml").write_text(SPEC % told)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Checks of the device tier of each task, of one run."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "_common.yaml").write_text(COMMON)
    for name, made in TASKS.items():
        write(folder, name, made)
    done = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", "run", ".", "--json", "--jobs", "2"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return {
        case["id"].partition("/")[0]: {
            check["rule"]: check for check in case["checks"] if check["tier"] == "device"
        }
        for case in json.loads(done.stdout)["cases"]
    }


@pytest.mark.parametrize("name", TASKS)
def test_every_bound_is_judged(found: dict[str, dict[str, Any]], name: str) -> None:
    wanted = {bound.partition(":")[0].strip() for bound in TASKS[name]["bounds"].split('",')}
    status = {rule: check["status"] for rule, check in found[name].items() if rule in wanted}
    assert set(status) == wanted
    assert set(status.values()) <= {"PASS", "INCONCLUSIVE"}
    # What is no difference between two models is no question of samples.
    plain = {rule for rule in wanted if not rule.endswith(("_drop", "_rise"))}
    assert {status[rule] for rule in plain} == {"PASS"}


@pytest.mark.parametrize(
    ("name", "rule"), [(name, rule) for name, made in TASKS.items() for rule in made["values"]]
)
def test_figures_are_those_of_scikit_learn(
    found: dict[str, dict[str, Any]], name: str, rule: str
) -> None:
    """Of nearly the same outputs: int8 costs this network next to nothing."""
    expected = TASKS[name]["values"][rule]
    assert found[name][rule]["value"] == pytest.approx(expected, rel=0.02, abs=0.02)
