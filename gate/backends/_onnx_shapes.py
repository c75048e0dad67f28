"""Shapes and types of a model's tensors for given inputs, as the runtime infers or produces them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gate.backends._onnx_session import Source, numpy_type, open_with_outputs, runtime_errors
from gate.backends.base import BackendError
from gate.core.layer import TensorInfo
from gate.core.tensors import TensorMap

_AT_ONCE = 8  # tensors fetched together where only a run can tell the shape
_SUB_BYTE = {"int4": 2, "uint4": 2}


def probe(source: Source, inputs: TensorMap, names: Sequence[str]) -> dict[str, TensorInfo]:
    """Shape and type of each of ``names`` when the model runs on ``inputs``.

    The runtime's own shape inference on fixed input shapes answers most of it; the rest (shapes
    that hang on values) is read off a run.

    Raises:
        BackendError: the model cannot be opened with these outputs, or fails on ``inputs``.
    """
    session = open_with_outputs(
        source,
        names,
        level="disabled",
        shapes={name: value.shape for name, value in inputs.items()},
    )
    wanted, open_names = set(names), []
    found: dict[str, TensorInfo] = {}
    for told in (*session.get_inputs(), *session.get_outputs()):
        if told.name not in wanted:
            continue
        if all(isinstance(size, int) and size >= 0 for size in told.shape):
            found[told.name] = TensorInfo(shape=tuple(told.shape), dtype=numpy_type(told.type))
        else:
            open_names.append(told.name)
    for start in range(0, len(open_names), _AT_ONCE):
        chunk = open_names[start : start + _AT_ONCE]
        for name, value in zip(chunk, _run(session, chunk, inputs), strict=True):
            found[name] = TensorInfo(
                shape=tuple(value.shape()), dtype=numpy_type(value.data_type())
            )
    return found


def byte_sizes(infos: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Bytes of each tensor in memory."""
    import numpy as np

    return {
        name: prod(info.shape) // _SUB_BYTE[info.dtype]
        if info.dtype in _SUB_BYTE
        else prod(info.shape) * np.dtype(info.dtype).itemsize
        for name, info in infos.items()
        if info.dtype in _SUB_BYTE or info.dtype in np.sctypeDict
    }


def _run(session: Any, names: Sequence[str], inputs: TensorMap) -> list[Any]:
    import onnxruntime

    feeds = {n: onnxruntime.OrtValue.ortvalue_from_numpy(v) for n, v in inputs.items()}
    try:
        return list(session.run_with_ort_values(list(names), feeds))
    except runtime_errors() as error:
        raise BackendError(f"the model fails on these inputs: {error}") from error
