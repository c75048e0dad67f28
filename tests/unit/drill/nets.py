"""Small networks that have a place for every fault, quantized in all forms and ready to be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from gate import plugins
from gate.core.artifact import Artifact
from gate.core.tensors import Array
from tests.unit.onnx_models import Builder, images, loaded, lstm_model, quantize

SHAPE = (3, 16, 16)


def every_place(b: Builder) -> None:
    """Padding around a zero point, twins, residual, depthwise, transposed, wide flatten, ReLU6."""
    wide = b.random.standard_normal((16, 3, 3, 3)).astype(np.float32)  # results beyond 6
    weights = [b.constant("ws", wide), b.weight("bs", 16)]
    b.add("Conv", "stem", ["image", *weights], "s", pads=[1] * 4)
    b.add("Relu", "stem_relu", ["s"], "sr")
    twins = [("first", "sr", "a"), ("second", "a", "b")]
    for name, x, y in twins:
        weights = [b.weight(f"w_{name}", 16, 16, 3, 3), b.weight(f"b_{name}", 16)]
        b.add("Conv", name, [x, *weights], y, pads=[1] * 4)
    b.add("Add", "residual", ["b", "sr"], "sum")
    limits = [b.constant("low", np.float32(0)), b.constant("high", np.float32(6))]
    b.add("Clip", "relu6", ["sum", *limits], "c")
    b.add(
        "Conv",
        "depthwise",
        ["c", b.weight("wd", 16, 1, 3, 3), b.weight("bd", 16)],
        "d",
        pads=[1] * 4,
        group=16,
    )
    b.add("MaxPool", "pool", ["d"], "p", kernel_shape=[4, 4], strides=[4, 4])
    b.add(
        "ConvTranspose",
        "up",
        ["p", b.weight("wu", 16, 16, 2, 2), b.weight("bu", 16)],
        "u",
        strides=[2, 2],
    )
    b.add("Relu", "up_relu", ["u"], "ur")
    b.add("Flatten", "flatten", ["ur"], "f")
    b.add("Gemm", "fc", ["f", b.weight("wf", 10, 1024), b.weight("bf", 10)], "output", transB=1)


def make(folder: Path) -> dict[str, Artifact]:
    """Form -> candidate."""
    path = saved(every_place, folder / "net.onnx")
    net, recurrent = loaded(path), lstm_model(folder)
    return {
        "qdq": quantize("onnxruntime-static", net, folder / "qdq"),
        "qoperator": quantize("onnxruntime-static", net, folder / "qop", format="QOperator"),
        "dynamic": quantize(
            "onnxruntime-dynamic", net, folder / "dyn", op_types=["Conv", "MatMul"]
        ),
        "lstm": quantize("onnxruntime-dynamic", recurrent, folder / "lstm_dyn"),
    }


def saved(make_net: Callable[[Builder], None], path: Path) -> Path:
    builder = Builder()
    make_net(builder)
    return builder.save(path, ["N", *SHAPE])


def run(path: Path, *batches: int, shape: tuple[int, ...] = SHAPE) -> list[Array]:
    """All outputs for random inputs, by ONNX Runtime alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    return [
        out for n in batches for out in session.run(None, {name: images(n, shape=shape)["image"]})
    ]


def outputs_of(form: str) -> Callable[[Artifact], list[Array]]:
    shape = (8, 8) if form == "lstm" else SHAPE
    return lambda artifact: run(artifact.path, 8, 1, shape=shape)


def real_weights(path: Path) -> dict[tuple[str, int], Array]:
    """Every weight of a file that stands in integers, dequantized here and not by the drill:
    (layer, operand) -> values. Layers in floating point are left out."""
    model = onnx.load(path)
    graph = model.graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    makers = {out: node for node in graph.node for out in node.output}
    places: dict[str, tuple[int, ...]] = {
        "Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "QLinearConv": (3,), "QGemm": (3,),
        "ConvInteger": (1,), "MatMulInteger": (1,), "DynamicQuantizeLSTM": (1, 2),
    }  # fmt: skip
    found = {}
    for node in graph.node:
        for place in places.get(node.op_type, ()):
            name = node.input[place]
            scale: Any = 1.0
            if name in makers:
                maker = makers[name]
                if maker.op_type != "DequantizeLinear":
                    continue
                scale = constants[maker.input[1]]
                name = maker.input[0]
            elif node.op_type in ("QLinearConv", "QGemm"):
                scale = constants[node.input[place + 1]]
            if name in constants:
                codes = constants[name].astype(np.float64)
                found[node.name, place] = np.concatenate([codes.ravel(), np.ravel(scale)])
    return found


def backend(name: str = "onnxruntime") -> Any:
    return plugins.load("backends", name)
