"""What an ONNX file wants to be fed, as a spec declares it."""

from __future__ import annotations

from pathlib import Path

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.onnx_files import inspect_onnx


def declared_inputs(path: Path) -> dict[str, InputSpec]:
    """Name -> shape and type of every input that is no constant; the first axis is the batch.

    Raises:
        ModelError: no readable ONNX file, or an input without a shape or that is no tensor.
    """
    from onnx import helper

    proto = inspect_onnx(path).proto
    constants = {tensor.name for tensor in proto.graph.initializer}
    found: dict[str, InputSpec] = {}
    for value in proto.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(f"{path}: input '{value.name}' is no tensor of a known rank")
        dims = [
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"axis{place}"
            for place, dim in enumerate(tensor.shape.dim)
        ]
        if not dims:
            raise ModelError(f"{path}: input '{value.name}' has no batch axis")
        first = dims[0] if isinstance(dims[0], int) else "N"
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        found[value.name] = InputSpec(shape=(first, *dims[1:]), dtype=dtype)
    if not found:
        raise ModelError(f"{path}: has no input")
    return found
