"""A project as a user's repository has it: a small network, two candidates, a spec, baselines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sklearn.datasets import load_digits

HIDDEN = 64
SPEC = """version: 1
id: digits
model:
  id: digits-mlp
  task: image-classification
  reference: {source: onnx, path: float.onnx}
  inputs: {x: {shape: [N, 64], dtype: float32}}
data:
  evaluation: {source: npz, path: data.npz, inputs: x, labels: y}
quantizations:
  per-channel: {method: candidate, path: per_channel.onnx}
  per-tensor: {method: candidate, path: per_tensor.onnx}
targets:
  ort-cpu: {backend: onnxruntime, threads: 1}
run: {timing: {warmup: 1, rounds: 10, processes: 6}, layer_samples: 4}
baseline: require
tolerances:
  numerical: {finite: true, sqnr: ["> 15 dB", ">= baseline - 1 dB"]}
  layers: {shapes: equal}
  device:
    top1_drop: "< 5 pp"
    speedup: "> 0.1 x"
"""


def line_of(text: str) -> int:
    """The line of the spec that has ``text``."""
    return next(n for n, line in enumerate(SPEC.splitlines(), 1) if text in line)


def make(folder: Path) -> Path:
    """Write everything but the baselines."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    specs = folder / "specs"
    specs.mkdir()
    (specs / "digits.yaml").write_text(SPEC)
    digits = load_digits()
    x = (digits.data / 16).astype(np.float32)
    y = digits.target.astype(np.int64)
    train = slice(0, 1200)
    np.savez(specs / "data.npz", x=x[1200:], y=y[1200:])
    _float_model(specs / "float.onnx", x[train], y[train])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{"x": x[train][:256]}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    for name, per_channel in (("per_channel", True), ("per_tensor", False)):
        quantize_static(
            str(specs / "float.onnx"),
            str(specs / f"{name}.onnx"),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
    return folder


def _float_model(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Random features and a ridge regression on top: trained in one line."""
    generator = np.random.default_rng(0)
    first = (generator.standard_normal((64, HIDDEN)) / 8).astype(np.float32)
    hidden = np.maximum(x @ first, 0)
    gram = hidden.T @ hidden + 1e-2 * np.eye(HIDDEN)
    second = np.linalg.solve(gram, hidden.T @ np.eye(10)[y]).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"], name="fc1"),
            helper.make_node("Relu", ["a"], ["b"], name="relu"),
            helper.make_node("MatMul", ["b", "w2"], ["logits"], name="fc2"),
        ],
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))


def accept(folder: Path) -> None:
    """Record the baselines, as somebody did before the change."""
    record(folder)
    shutil.rmtree(folder / ".gate")


def record(folder: Path) -> None:
    """Run the specs and take what they show for the baselines."""
    command = [sys.executable, "-m", "gate.cli.main", "baseline", "update", "specs"]
    done = subprocess.run(
        [*command, "--reason", "first", "--in-ci"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _candidate(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    path = folder / "specs" / "per_channel.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def _initializer(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _scaled(model: onnx.ModelProto, name: str, factor: np.ndarray | float) -> None:
    tensor = _initializer(model, name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))


def numerical_regression(folder: Path) -> None:
    """Weights of the first layer dequantized with scales that are 20 % too large."""
    _candidate(folder, lambda model: _scaled(model, "w1_scale", 1.2))


def shape_regression(folder: Path) -> None:
    """The last class is cut off the output."""

    def change(model: onnx.ModelProto) -> None:
        output = model.graph.output[0]
        producer = next(node for node in model.graph.node if output.name in node.output)
        producer.output[0] = "whole"
        for name, value in (("starts", 0), ("ends", 9), ("axes", 1)):
            model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
        node = helper.make_node(
            "Slice", ["whole", "starts", "ends", "axes"], [output.name], name="cut"
        )
        model.graph.node.append(node)
        output.type.tensor_type.shape.dim[1].dim_value = 9

    _candidate(folder, change)


def accuracy_regression(folder: Path) -> None:
    """The weights of one class are lost."""
    lost = np.ones(10, np.float32)
    lost[3] = 0
    _candidate(folder, lambda model: _scaled(model, "w2_scale", lost))


def latency_regression(folder: Path) -> None:
    """A branch that costs a hundred times the network and adds nothing."""

    def change(model: onnx.ModelProto) -> None:
        output = model.graph.output[0].name
        producer = next(node for node in model.graph.node if output in node.output)
        producer.output[0] = "before"
        wide = 1024
        constants = {"shape_in": [64, wide], "shape": [wide, wide], "nothing": [0.0], "ax": [1]}
        for name, value in constants.items():
            kind = np.float32 if name == "nothing" else np.int64
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), name))
        ones = numpy_helper.from_array(np.array([1e-6], np.float32))
        nodes = [
            helper.make_node("ConstantOfShape", ["shape_in"], ["widen"], value=ones),
            helper.make_node("ConstantOfShape", ["shape"], ["square"], value=ones),
            helper.make_node("MatMul", ["x", "widen"], ["h0"]),
        ]
        nodes += [helper.make_node("MatMul", [f"h{i}", "square"], [f"h{i + 1}"]) for i in range(8)]
        nodes += [
            helper.make_node("ReduceSum", ["h8", "ax"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Add", ["before", "zero"], [output], name="ballast"),
        ]
        model.graph.node.extend(nodes)

    _candidate(folder, change)


def deleted_baseline(folder: Path) -> None:
    """The file of one case is gone."""
    (file,) = (folder / "baselines" / "digits" / "per-channel@ort-cpu").glob("*.json")
    file.unlink()


def orphaned_baseline(folder: Path) -> None:
    """A case is renamed, its baseline is not."""
    path = folder / "specs" / "digits.yaml"
    path.write_text(path.read_text().replace("  per-tensor: {", "  per-network: {"))


def spec_error(folder: Path) -> None:
    """A misspelt key."""
    path = folder / "specs" / "digits.yaml"
    path.write_text(path.read_text().replace("top1_drop", "top1_dropp"))


def harmless(folder: Path) -> None:
    """A comment."""
    path = folder / "specs" / "digits.yaml"
    path.write_text(f"{path.read_text()}# looked at again\n")
