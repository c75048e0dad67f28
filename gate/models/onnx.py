"""Model source: an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, ModelSpec
from gate.core.transform import TRANSFORM_PROPERTIES, TensorTransform, parse_transforms
from gate.models.base import LoadedModel, ModelError
from gate.models.hashing import check_sha256
from gate.models.onnx_files import inspect_onnx
from gate.models.weights import SHA256_SCHEMA


class OnnxFile:
    """Opens an ONNX file and checks its inputs against the spec's."""

    name: ClassVar[str] = "onnx"
    produces: ClassVar[Format] = Format.ONNX
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "path": {"type": "string", "format": "path", "description": "ONNX file"},
            "sha256": {
                **SHA256_SCHEMA,
                "description": "demanded SHA-256 over the file and its external data, in name order",
            },
            **TRANSFORM_PROPERTIES,
        },
        "required": ["path"],
    }

    def unavailable(self) -> str | None:
        """Why the onnx package is not here, or None."""
        if find_spec("onnx") is None:
            return "onnx is not installed: pip install 'quantgate[onnxruntime]'"
        return None

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:  # noqa: ARG002 - nothing is drawn
        """Parse the file; see ``ModelSource.load``."""
        parts = inspect_onnx(Path(spec.options["path"]))
        check_sha256(parts.sha256, spec.options.get("sha256"), what=parts.path)
        _check_inputs(parts.path, parts.proto, spec)
        return LoadedModel(
            format=Format.ONNX,
            sha256=parts.sha256,
            size_bytes=parts.size_bytes,
            spec=spec,
            path=parts.path,
        )


def _check_inputs(path: Path, proto: Any, spec: ModelSpec) -> None:
    from onnx import helper

    constants = {tensor.name for tensor in proto.graph.initializer}
    found = {
        value.name: value.type.tensor_type
        for value in proto.graph.input
        if value.name not in constants
    }
    transforms = parse_transforms(spec.options).inputs
    unknown = sorted(set(transforms) - set(spec.inputs))
    if unknown:
        raise ModelError(f"{path}: a transform names input '{unknown[0]}', which the spec lacks")
    wanted = dict(
        _expected(name, declared, transforms.get(name, TensorTransform()))
        for name, declared in spec.inputs.items()
    )
    if set(found) != set(wanted):
        raise ModelError(
            f"{path}: its inputs are {', '.join(sorted(found)) or 'none'}; the spec declares "
            f"{', '.join(sorted(wanted))}"
        )
    for name, declared in wanted.items():
        dtype = helper.tensor_dtype_to_np_dtype(found[name].elem_type).name
        if dtype != declared.dtype:
            raise ModelError(f"{path}: input '{name}' is {dtype}, the spec says {declared.dtype}")
        dims = found[name].shape.dim
        if found[name].HasField("shape") and (
            len(dims) != len(declared.shape)
            or any(
                d.HasField("dim_value") and isinstance(s, int) and d.dim_value != s
                for d, s in zip(dims, declared.shape, strict=False)
            )
        ):
            shape = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]
            raise ModelError(
                f"{path}: input '{name}' has shape {shape}, the spec says {list(declared.shape)}"
            )


def _expected(name: str, declared: InputSpec, transform: TensorTransform) -> tuple[str, InputSpec]:
    """Name, type and shape that the file's input has behind ``transform``."""
    shape = declared.shape
    if transform.layout == "nhwc" and len(shape) == 4:
        shape = (shape[0], shape[2], shape[3], shape[1])
    quantized = "uint8" if transform.scale is not None else declared.dtype
    return transform.rename or name, InputSpec(shape=shape, dtype=transform.dtype or quantized)
