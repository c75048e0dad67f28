"""Nodes of a float ONNX graph that can be kept in float, and what quantizing each alone would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.core.tensors import Array, TensorMap
from gate.core.transform import TensorTransform, TransformError, apply_inputs
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.keep_float import Layer

NOISE_SAMPLES = 16
"""Calibration samples that costs are measured on: one session a layer."""

# Operator -> (positions of its weights, axis of the output channels; None: by attribute).
_WEIGHTED: Mapping[str, tuple[tuple[int, ...], int | None]] = {
    "Conv": ((1,), 0),
    "ConvTranspose": ((1,), 1),
    "GRU": ((1, 2), 1),
    "Gemm": ((1,), None),
    "LSTM": ((1, 2), 1),
    "MatMul": ((1,), -1),
    "RNN": ((1, 2), 1),
}
_EPSILON = 1e-12


def layers_of(path: Path) -> list[Layer]:
    """Every node, in the file's order, which is one of execution."""
    import onnx

    graph = onnx.load_model(str(path), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [
        Layer(
            name=node.name,
            kind=node.op_type,
            weighted=any(
                node.input[place] in constants
                for place in _WEIGHTED.get(node.op_type, ((), None))[0]
            ),
        )
        for node in graph.node
    ]


def noise_of_layers(
    path: Path,
    layers: Sequence[Layer],
    *,
    calibration: CalibrationBatches | None,
    transforms: Mapping[str, TensorTransform],
) -> dict[str, float]:
    """Name -> noise power at the outputs, relative to the signal's, with that node alone in int8.

    Simulated on the first ``NOISE_SAMPLES`` calibration samples: weights symmetric by output channel,
    the node's first input affine over the range that it has on these samples; of several outputs
    the worst counts.

    Raises:
        QuantizeError: there is no calibration sample, or the model does not take it.
    """
    import onnx

    samples = _first_samples(calibration, transforms)
    proto = onnx.load_model(str(path))
    nodes = {node.name: node for node in proto.graph.node}
    clean = _run(proto, samples)
    ranges = _ranges(proto, [nodes[layer.name].input[0] for layer in layers], samples)
    found = {}
    for layer in layers:
        noisy = _run(_quantized_alone(proto, layer.name, ranges), samples)
        found[layer.name] = max(_relative_power(clean[name], noisy[name]) for name in clean)
    return found


def _first_samples(
    calibration: CalibrationBatches | None, transforms: Mapping[str, TensorTransform]
) -> TensorMap:
    import numpy as np

    parts: list[TensorMap] = []
    seen = 0
    for batch in calibration() if calibration is not None else ():
        try:
            parts.append(apply_inputs(batch, transforms))
        except TransformError as error:
            raise QuantizeError(f"calibration: {error}") from error
        seen += len(next(iter(batch.values())))
        if seen >= NOISE_SAMPLES:
            break
    if not parts:
        raise QuantizeError(
            "keep_float: sensitivity needs calibration samples: give data.calibration in the spec"
        )
    return {name: np.concatenate([p[name] for p in parts])[:NOISE_SAMPLES] for name in parts[0]}


def _run(proto: Any, samples: TensorMap) -> dict[str, Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(samples)), strict=True))
    except Exception as error:  # the runtime's own kinds, none of which it exports
        raise QuantizeError(f"keep_float: the model does not run: {error}") from error


def _ranges(proto: Any, names: Sequence[str], samples: TensorMap) -> dict[str, tuple[float, float]]:
    import onnx

    probing = onnx.ModelProto()
    probing.CopyFrom(proto)
    given = {output.name for output in probing.graph.output} | set(samples)
    for name in dict.fromkeys(names):
        if name not in given:
            probing.graph.output.append(onnx.ValueInfoProto(name=name))
    values = {**samples, **_run(probing, samples)}
    return {
        name: (min(float(values[name].min()), 0.0), max(float(values[name].max()), 0.0))
        for name in names
        if values[name].dtype.kind == "f"
    }


def _quantized_alone(proto: Any, name: str, ranges: Mapping[str, tuple[float, float]]) -> Any:
    """A copy in which one node reads its weights and its first input rounded to 8 bits."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    place = next(i for i, node in enumerate(graph.node) if node.name == name)
    node = graph.node[place]
    stored = {tensor.name: tensor for tensor in graph.initializer}
    positions, axis = _WEIGHTED[node.op_type]
    if axis is None:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if transposed else 1
    for position in positions:
        tensor = stored.get(node.input[position])
        if tensor is None:
            continue
        rounded = _per_channel_symmetric(numpy_helper.to_array(tensor), axis)
        own = f"{name}/gate_rounded_{position}"
        graph.initializer.append(numpy_helper.from_array(rounded, own))
        node.input[position] = own
    read = node.input[0]
    if read in ranges:
        low, high = ranges[read]
        scale = max((high - low) / 255, _EPSILON)
        zero_point = min(max(round(-low / scale), 0), 255)
        base = f"{name}/gate_input"
        graph.initializer.append(numpy_helper.from_array(np.float32(scale), f"{base}_scale"))
        graph.initializer.append(numpy_helper.from_array(np.uint8(zero_point), f"{base}_zero"))
        scales = [f"{base}_scale", f"{base}_zero"]
        to = helper.make_node("QuantizeLinear", [read, *scales], [f"{base}_q"], f"{base}_q")
        back = helper.make_node("DequantizeLinear", [f"{base}_q", *scales], [base], base)
        node.input[0] = base
        graph.node.insert(place, back)
        graph.node.insert(place, to)
    return copy


def _per_channel_symmetric(weight: Array, axis: int) -> Array:
    import numpy as np

    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    scales = np.maximum(np.abs(weight).max(axis=others, keepdims=True) / 127.0, _EPSILON)
    rounded: Array = (np.clip(np.rint(weight / scales), -127, 127) * scales).astype(weight.dtype)
    return rounded


def _relative_power(clean: Array, noisy: Array) -> float:
    import numpy as np

    signal = float(np.square(clean, dtype=np.float64).sum())
    noise = float(np.square(noisy.astype(np.float64) - clean).sum())
    return noise / signal if signal else noise
