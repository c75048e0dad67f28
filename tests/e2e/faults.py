"""Faults planted for real into a copy of the candidate, each as a change of an ONNX QDQ file.

``quantize`` is an entry for ``method: python``: it makes the healthy candidate with the gate's own
ONNX Runtime quantizer and then breaks the file in the way that ``fault`` names, so that the gate sees
what it would see if the quantizer itself had changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def _initializer(model: ModelProto, name: str) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _producer(model: ModelProto, tensor: str) -> NodeProto:
    return next(node for node in model.graph.node if tensor in node.output)


def _consumers(model: ModelProto, tensor: str) -> list[NodeProto]:
    return [node for node in model.graph.node if tensor in node.input]


def _layer(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _weight_dequantize(model: ModelProto, layer: str) -> NodeProto:
    return _producer(model, _layer(model, layer).input[1])


def _private_copy(model: ModelProto, node: NodeProto, position: int) -> TensorProto:
    """Give ``node`` its own copy of the initializer at ``position``: others may share it."""
    copy = TensorProto()
    copy.CopyFrom(_initializer(model, node.input[position]))
    copy.name = f"{node.input[position]}_of_{node.name}"
    node.input[position] = copy.name
    model.graph.initializer.append(copy)
    return model.graph.initializer[-1]


def _replace(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def scale_x1_05(model: ModelProto, layer: str) -> None:
    """Weights dequantized with a scale that is 5 % too large."""
    scale = _private_copy(model, _weight_dequantize(model, layer), 1)
    values = numpy_helper.to_array(scale)
    _replace(scale, (values * 1.05).astype(values.dtype))


def _zero_point(model: ModelProto, layer: str, offset: int) -> None:
    node = _producer(model, _layer(model, layer).input[0])
    zero_point = _private_copy(model, node, 2)
    values = numpy_helper.to_array(zero_point)
    moved = values.astype(np.int64) + offset
    if moved > np.iinfo(values.dtype).max:
        moved = values.astype(np.int64) - offset
    _replace(zero_point, moved.astype(values.dtype))


def zero_point_off_by_1(model: ModelProto, layer: str) -> None:
    """The layer reads its input with a zero point beside the one it was written with."""
    _zero_point(model, layer, 1)


def zero_point_off_by_4(model: ModelProto, layer: str) -> None:
    """As above, by four."""
    _zero_point(model, layer, 4)


def _per_channel(model: ModelProto, layer: str) -> tuple[NodeProto, np.ndarray, np.ndarray]:
    node = _weight_dequantize(model, layer)
    weight, scale = (numpy_helper.to_array(_initializer(model, node.input[i])) for i in (0, 1))
    assert weight.shape[0] == weight.shape[1] == scale.size, "needs as many inputs as outputs"
    return node, weight, scale


def wrong_axis(model: ModelProto, layer: str) -> None:
    """Per-channel scales multiplied along the input channels, then stored as they should be."""
    node, codes, scale = _per_channel(model, layer)
    shape = (1, -1, *[1] * (codes.ndim - 2))
    weight = codes.astype(np.float32) * scale.reshape(shape)
    proper = np.abs(weight).reshape(scale.size, -1).max(1) / 127
    stored = np.rint(weight / proper.reshape(-1, *[1] * (codes.ndim - 1)))
    _replace(_private_copy(model, node, 0), stored.astype(codes.dtype))
    _replace(_private_copy(model, node, 1), proper.astype(scale.dtype))


def wrong_axis_in_the_file(model: ModelProto, layer: str) -> None:
    """The file says that the scales go along the input channels; the runtime may not care."""
    node, _, _ = _per_channel(model, layer)
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == "axis")
    attribute.i = 1


def channel_zeroed(model: ModelProto, layer: str) -> None:
    """All weights of one output channel lost."""
    weight = _private_copy(model, _weight_dequantize(model, layer), 0)
    values = numpy_helper.to_array(weight).copy()
    values[1] = 0
    _replace(weight, values)


def int4(model: ModelProto, layer: str) -> None:
    """Weights stored in four bits where eight were agreed."""
    node = _weight_dequantize(model, layer)
    weight, scale = (_private_copy(model, node, position) for position in (0, 1))
    _private_copy(model, node, 2)
    zero_point = _initializer(model, node.input[2])
    scales = numpy_helper.to_array(scale)
    codes = np.rint(numpy_helper.to_array(weight).astype(np.float32) * 7 / 127)
    _replace(scale, (scales * (127 / 7)).astype(scales.dtype))
    weight.CopyFrom(
        helper.make_tensor(weight.name, TensorProto.INT4, codes.shape, codes.astype(int).ravel())
    )
    zero_point.CopyFrom(
        helper.make_tensor(zero_point.name, TensorProto.INT4, scales.shape, [0] * scales.size)
    )
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, 21)


def weight_scale_nan(model: ModelProto, layer: str) -> None:
    """One scale of the weights is NaN; integer kernels turn that into any number."""
    scale = _private_copy(model, _weight_dequantize(model, layer), 1)
    values = numpy_helper.to_array(scale).copy()
    values[0] = np.nan
    _replace(scale, values)


def output_nan(model: ModelProto, layer: str) -> None:
    """The last dequantization multiplies by NaN."""
    del layer
    node = _producer(model, model.graph.output[0].name)
    scale = _private_copy(model, node, 1)
    _replace(scale, np.full_like(numpy_helper.to_array(scale), np.nan))


def output_shape(model: ModelProto, layer: str) -> None:
    """The last class is cut off the output."""
    del layer
    output = model.graph.output[0]
    classes = output.type.tensor_type.shape.dim[1].dim_value
    inner = f"{output.name}_whole"
    producer = _producer(model, output.name)
    producer.output[list(producer.output).index(output.name)] = inner
    names = []
    for name, value in (("starts", 0), ("ends", classes - 1), ("axes", 1)):
        names.append(f"cut_{name}")
        model.graph.initializer.append(
            numpy_helper.from_array(np.array([value], np.int64), names[-1])
        )
    model.graph.node.append(helper.make_node("Slice", [inner, *names], [output.name], name="cut"))
    output.type.tensor_type.shape.dim[1].dim_value = classes - 1


def file_doubled(model: ModelProto, layer: str) -> None:
    """Float weights left in the file beside the integer ones, as many bytes again."""
    del layer
    ballast = np.arange(model.ByteSize(), dtype=np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(ballast, "left_behind"))


FAULTS: dict[str, Callable[[ModelProto, str], None]] = {
    fault.__name__: fault
    for fault in (
        scale_x1_05,
        zero_point_off_by_1,
        zero_point_off_by_4,
        wrong_axis,
        wrong_axis_in_the_file,
        channel_zeroed,
        int4,
        weight_scale_nan,
        output_nan,
        output_shape,
        file_doubled,
    )
}


def break_file(path: Path, *, fault: str, layer: str) -> None:
    """Apply one fault of ``FAULTS`` to the QDQ file at ``path``."""
    model = onnx.load(path)
    FAULTS[fault](model, layer)
    onnx.save(model, path)
