"""Small ONNX networks written node by node, and how tests open and quantize them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.spec import ModelSpec, TargetSpec
from gate.core.tensors import TensorMap
from gate.models.base import LoadedModel

COMPUTING = ("conv1", "depthwise", "pointwise", "conv2", "fc")


class Builder:
    """Collects nodes and weights; every node bears the name it is given."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, *shape: int, positive: bool = False) -> str:
        fan_in = int(np.prod(shape[1:])) or 1
        value = self.random.standard_normal(shape) / np.sqrt(fan_in)
        if positive:
            value = np.abs(value) + 0.5
        return self.constant(name, value.astype(np.float32))

    def constant(self, name: str, value: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op: str, name: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def batch_norm(self, name: str, x: str, output: str, channels: int) -> str:
        parts = [
            self.weight(f"{name}.scale", channels, positive=True),
            self.weight(f"{name}.bias", channels),
            self.weight(f"{name}.mean", channels),
            self.weight(f"{name}.var", channels, positive=True),
        ]
        return self.add("BatchNormalization", name, [x, *parts], output)

    def save(
        self, path: Path, input_shape: list[Any], *, name: str = "image", dtype: int = 1
    ) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info(name, dtype, input_shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save_model(model, str(path))
        return path


def cnn(b: Builder, x: str = "image") -> None:
    """conv + BN + ReLU, depthwise + BN + ReLU6, residual sum, pooling, strided conv, linear."""
    b.add("Conv", "conv1", [x, b.weight("w1", 16, 3, 3, 3)], "c1", pads=[1] * 4)
    b.batch_norm("bn1", "c1", "b1", 16)
    b.add("Relu", "relu1", ["b1"], "r1")
    b.add("Conv", "depthwise", ["r1", b.weight("wd", 16, 1, 3, 3)], "c2", pads=[1] * 4, group=16)
    b.batch_norm("bn2", "c2", "b2", 16)
    limits = [b.constant("low", np.float32(0)), b.constant("high", np.float32(6))]
    b.add("Clip", "relu6", ["b2", *limits], "r2")
    b.add("Conv", "pointwise", ["r2", b.weight("wp", 16, 16, 1, 1), b.weight("bp", 16)], "c3")
    b.add("Add", "residual", ["c3", "r1"], "sum")
    b.add("Relu", "relu2", ["sum"], "r3")
    b.add("MaxPool", "pool", ["r3"], "p", kernel_shape=[2, 2], strides=[2, 2])
    weights = [b.weight("w2", 32, 16, 3, 3), b.weight("b2w", 32)]
    b.add("Conv", "conv2", ["p", *weights], "c4", strides=[2, 2])
    b.add("Relu", "relu3", ["c4"], "r4")
    b.add("GlobalAveragePool", "gap", ["r4"], "g")
    b.add("Flatten", "flatten", ["g"], "f")
    b.add("Gemm", "fc", ["f", b.weight("wf", 10, 32), b.weight("bf", 10)], "output", transB=1)


def lstm(b: Builder) -> None:
    """An LSTM over rows and a linear layer on its last state."""
    b.add("Transpose", "to_steps", ["image"], "steps", perm=[1, 0, 2])
    weights = [b.weight("W", 1, 96, 8), b.weight("R", 1, 96, 24), b.weight("B", 1, 192)]
    b.nodes.append(
        helper.make_node("LSTM", ["steps", *weights], ["y", "h"], name="lstm", hidden_size=24)
    )
    b.add("Squeeze", "drop_axis", ["h", b.constant("axis", np.array([0]))], "last")
    b.add("Gemm", "fc", ["last", b.weight("wf", 10, 24), b.weight("bf", 10)], "output", transB=1)


def lstm_both_ways(b: Builder) -> None:
    """An LSTM that reads the rows both ways."""
    b.add("Transpose", "to_steps", ["image"], "steps", perm=[1, 0, 2])
    weights = [b.weight("W", 2, 96, 8), b.weight("R", 2, 96, 24), b.weight("B", 2, 192)]
    both = {"hidden_size": 24, "direction": "bidirectional"}
    b.add("LSTM", "lstm", ["steps", *weights], "output", **both)


def mlp_model(folder: Path, *, hidden: int, narrow: int) -> LoadedModel:
    """Two Gemm with a MatMul and a ReLU between them."""
    b = Builder()
    weights = [b.weight("w1", hidden, 64), b.weight("b1", hidden)]
    b.add("Gemm", "first", ["image", *weights], "h", transB=1)
    b.add("Relu", "relu", ["h"], "r")
    b.add("MatMul", "second", ["r", b.weight("w2", hidden, narrow)], "m")
    weights = [b.weight("wf", 10, narrow), b.weight("bf", 10)]
    b.add("Gemm", "last", ["m", *weights], "output", transB=1)
    return loaded(b.save(folder / "mlp.onnx", ["N", 64]))


def write(make: Callable[[Builder], None], path: Path, shape: list[Any]) -> LoadedModel:
    builder = Builder()
    make(builder)
    return loaded(builder.save(path, shape))


def loaded(path: Path, /, *, source: str = "python", **options: Any) -> LoadedModel:
    spec = ModelSpec(id="m", task="other", source=source, options=options, inputs={})
    size = path.stat().st_size if path.is_file() else 0
    return LoadedModel(format=Format.ONNX, sha256="0", size_bytes=size, spec=spec, path=path)


def cnn_model(folder: Path) -> LoadedModel:
    return write(cnn, folder / "cnn.onnx", ["N", 3, 16, 16])


def lstm_model(folder: Path) -> LoadedModel:
    return write(lstm, folder / "lstm.onnx", ["N", 8, 8])


def images(count: int = 8, *, seed: int = 9, shape: tuple[int, ...] = (3, 16, 16)) -> TensorMap:
    random = np.random.default_rng(seed)
    return {"image": random.standard_normal((count, *shape)).astype(np.float32)}


def calibration(shape: tuple[int, ...] = (3, 16, 16)) -> Iterator[TensorMap]:
    """Three full batches and a smaller last one."""
    for seed, count in enumerate((16, 16, 16, 5)):
        yield images(count, seed=seed, shape=shape)


def target(**options: Any) -> TargetSpec:
    return TargetSpec(name="t", backend="onnxruntime", threads=1, dedicated=False, options=options)


def quantize(method: str, model: LoadedModel, out_dir: Path, **options: Any) -> Artifact:
    out_dir.mkdir(parents=True, exist_ok=True)
    shape = (8, 8) if model.path is not None and "lstm" in model.path.name else (3, 16, 16)
    made = plugins.load("quantizers", method).quantize(
        model,
        lambda: calibration(shape),
        options=options,
        target=target(),
        seed=0,
        out_dir=out_dir,
    )
    assert isinstance(made, Artifact)
    return made


def relative_mse_percent(x: Any, y: Any) -> float:
    return float(100 * np.mean((x - y) ** 2) / np.var(x))
