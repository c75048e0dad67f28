"""Static quantization by torch for fbgemm, exported to ONNX: what a converter for another runtime reads."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

if TYPE_CHECKING:
    from gate.core.spec import TargetSpec

Batches = Callable[[], Iterable[Mapping[str, np.ndarray[Any, Any]]]]
OPSET = 17
"""The newest that the exporter for quantized modules writes."""


def export(
    model: nn.Module,
    calibration: Batches | None,
    options: Mapping[str, Any],
    target: TargetSpec,  # noqa: ARG001 - the file is the same for every target
) -> onnx.ModelProto:
    """Quantize for fbgemm, then export with the exporter that knows quantized modules (not dynamo's).

    ``options``: ``shape`` of one sample, ``input`` and ``output`` names.

    Raises:
        ValueError: there are no calibration samples.
    """
    if calibration is None:
        raise ValueError("static quantization needs data.calibration")
    torch.backends.quantized.engine = "fbgemm"
    example = torch.zeros(2, *options["shape"])
    prepared = prepare_fx(model.eval(), get_default_qconfig_mapping("fbgemm"), (example,))
    with torch.no_grad():
        for batch in calibration():
            prepared(torch.from_numpy(batch[options["input"]]))
    quantized = convert_fx(prepared)
    names = {"input_names": [options["input"]], "output_names": [options["output"]]}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter says of itself that it is on its way out
        torch.onnx.export(
            quantized,
            (example,),
            file,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes={name: {0: "N"} for pair in names.values() for name in pair},
            **names,
        )
    return tidy(onnx.load_from_string(file.getvalue()))


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the exporter computes from constants becomes initializers, and casts of a quantized tensor to the
    type that it has go: they stand between the pairs that runtimes fuse. Nodes are named by their module.

    Raises:
        ValueError: a cast changes a type.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    quantized: dict[str, np.dtype[Any]] = {}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if (value := _folded(node, constants)) is not None:
            constants[node.output[0]] = value
        elif node.op_type == "Cast":
            if helper.np_dtype_to_tensor_dtype(quantized[node.input[0]]) != _attribute(node, "to"):
                raise ValueError(f"{node.name} changes the type of a quantized tensor")
            renamed[node.output[0]] = node.input[0]
        else:
            if node.op_type == "QuantizeLinear":
                quantized[node.output[0]] = constants[node.input[2]].dtype
            module, _, operator = node.name.strip("/").rpartition("/")
            weighted = node.op_type in {"Conv", "Gemm", "MatMul"}
            node.name = module.replace("/", ".") if weighted else f"{module}/{operator}"
            kept.append(node)
    used = {name for node in kept for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items() if name in used
    )
    onnx.checker.check_model(model)
    return model


def _folded(
    node: onnx.NodeProto, constants: Mapping[str, np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any] | None:
    """Value of a node of constants; None for any other."""
    if node.op_type == "Constant":
        return numpy_helper.to_array(_attribute(node, "value"))
    if not node.input or node.input[0] not in constants:
        return None
    value = constants[node.input[0]]
    if node.op_type == "Identity":
        return value
    if node.op_type == "Cast":
        return value.astype(helper.tensor_dtype_to_np_dtype(_attribute(node, "to")))
    if node.op_type == "ConstantOfShape":
        fill = numpy_helper.to_array(_attribute(node, "value"))
        return np.full(tuple(value), fill.reshape(()), fill.dtype)
    return None


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return helper.get_attribute_value(next(a for a in node.attribute if a.name == name))
