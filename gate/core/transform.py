"""Declared transforms between a spec's tensors and those of a file with an interface of its own.

Flow-wise, on both sides: the key is the name before the transform and ``rename`` the name after it.
An input goes from the spec's tensor (floating point, channels first) to the file's; an output from
the file's tensor to the one that the gate compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue

if TYPE_CHECKING:
    from gate.core.artifact import Artifact
    from gate.core.spec import ModelSpec
    from gate.core.tensors import Array, TensorMap

_QUANTIZED_TYPES = ("uint8", "int8", "uint16", "int16", "int32")
_LAYOUT = {
    "enum": ["nchw", "nhwc"],
    "description": "Axis order in the file; the spec's tensors are nchw.",
}
_RENAME = {"type": "string", "minLength": 1, "description": "Name after the transform."}
_SCALE = {"type": "number", "exclusiveMinimum": 0}

TRANSFORM_PROPERTIES: Mapping[str, JsonValue] = {
    "inputs": {
        "type": "object",
        "description": "By name in the spec: what the file is given instead.",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "dependentRequired": {"zero_point": ["scale"]},
            "properties": {
                "rename": _RENAME,
                "dtype": {
                    "enum": ["float32", "float16", *_QUANTIZED_TYPES],
                    "description": "Element type in the file; uint8 where a scale is given.",
                },
                "scale": {**_SCALE, "description": "stored = round(real / scale) + zero_point"},
                "zero_point": {"type": "integer"},
                "layout": _LAYOUT,
            },
        },
    },
    "outputs": {
        "type": "object",
        "description": "By name in the file: what the gate gets instead.",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "dependentRequired": {"zero_point": ["scale"]},
            "properties": {
                "rename": _RENAME,
                "scale": {**_SCALE, "description": "real = scale * (stored - zero_point)"},
                "zero_point": {"type": "integer"},
                "drop_columns": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0},
                    "uniqueItems": True,
                    "description": "Indices along the last axis to leave out (a background class).",
                },
                "layout": _LAYOUT,
            },
        },
    },
}
"""JSON Schema properties ``inputs`` and ``outputs``, to be merged into a plugin's options schema."""


class TransformError(ValueError):
    """A transform that does not fit the tensors; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorTransform:
    """One tensor's transform; the defaults change nothing."""

    rename: str | None = None
    dtype: str | None = None
    scale: float | None = None
    zero_point: int = 0
    drop_columns: tuple[int, ...] = ()
    layout: str = "nchw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    """Both sides of one file."""

    inputs: Mapping[str, TensorTransform]
    outputs: Mapping[str, TensorTransform]

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs)


def parse_transforms(options: Mapping[str, JsonValue]) -> Transforms:
    """Read ``inputs`` and ``outputs`` of options that :data:`TRANSFORM_PROPERTIES` has checked."""

    def read(side: str) -> dict[str, TensorTransform]:
        return {name: _transform(entry or {}) for name, entry in (options.get(side) or {}).items()}

    return Transforms(inputs=read("inputs"), outputs=read("outputs"))


def reference_transforms(model: ModelSpec, source: str) -> Transforms:
    """Of a reference: they stand in the options of models that came as files of ``source``, and in no
    others."""
    return parse_transforms(model.options if model.source == source else {})


def candidate_transforms(artifact: Artifact, model: ModelSpec, source: str) -> Transforms:
    """Of a candidate: its own where it was given as a file, else those of the model that it was made
    from."""
    given = artifact.producer == "candidate"
    return parse_transforms(artifact.options) if given else reference_transforms(model, source)


def _transform(entry: Mapping[str, JsonValue]) -> TensorTransform:
    return TensorTransform(
        rename=entry.get("rename"),
        dtype=entry.get("dtype"),
        scale=entry.get("scale"),
        zero_point=entry.get("zero_point", 0),
        drop_columns=tuple(entry.get("drop_columns", ())),
        layout=entry.get("layout", "nchw"),
    )


def apply_inputs(inputs: TensorMap, transforms: Mapping[str, TensorTransform]) -> TensorMap:
    """From the spec's tensors to the file's.

    Raises:
        TransformError: a transform of an input that is not there, or two inputs of one name.
    """
    return _apply(inputs, transforms, _input, "input")


def apply_outputs(outputs: TensorMap, transforms: Mapping[str, TensorTransform]) -> TensorMap:
    """From the file's tensors to the gate's.

    Raises:
        TransformError: a transform of an output that is not there, or two outputs of one name.
    """
    return _apply(outputs, transforms, _output, "output")


def _apply(
    tensors: TensorMap, transforms: Mapping[str, TensorTransform], one: Any, what: str
) -> TensorMap:
    if not transforms:
        return tensors
    unknown = sorted(set(transforms) - set(tensors))
    if unknown:
        raise TransformError(
            f"the transform names {what} {unknown[0]!r}; there is {', '.join(map(repr, tensors))}"
        )
    result: dict[str, Array] = {}
    for name, value in tensors.items():
        transform = transforms.get(name, TensorTransform())
        after = transform.rename or name
        if after in result:
            raise TransformError(f"the transforms give two {what}s the name {after!r}")
        result[after] = one(name, value, transform)
    return result


def _input(name: str, value: Array, transform: TensorTransform) -> Array:
    import numpy as np

    if transform.layout == "nhwc":
        _needs_rank_4(name, value)
        value = np.ascontiguousarray(np.transpose(value, (0, 2, 3, 1)))
    if transform.scale is not None:
        dtype = np.dtype(transform.dtype or "uint8")
        if dtype.kind not in "iu":
            raise TransformError(f"input {name!r}: a scale needs an integer dtype, not {dtype}")
        limits = np.iinfo(dtype)
        stored = np.rint(value / np.float32(transform.scale)) + transform.zero_point
        result: Array = np.clip(stored, limits.min, limits.max).astype(dtype)
        return result
    return value if transform.dtype is None else value.astype(np.dtype(transform.dtype))


def _output(name: str, value: Array, transform: TensorTransform) -> Array:
    import numpy as np

    if transform.scale is not None:
        centred = value.astype(np.int64) - transform.zero_point
        value = (centred * transform.scale).astype(np.float32)
    if transform.layout == "nhwc":
        _needs_rank_4(name, value)
        value = np.ascontiguousarray(np.transpose(value, (0, 3, 1, 2)))
    if transform.drop_columns:
        if value.ndim < 2 or max(transform.drop_columns) >= value.shape[-1]:
            raise TransformError(
                f"output {name!r} of shape {list(value.shape)} has no column"
                f" {max(transform.drop_columns)} to drop"
            )
        value = np.delete(value, transform.drop_columns, axis=-1)
    return value


def _needs_rank_4(name: str, value: Array) -> None:
    if value.ndim != 4:
        raise TransformError(f"{name!r} of shape {list(value.shape)}: nhwc needs four axes")
