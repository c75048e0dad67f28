"""The declared way from a raw sample to a model input: its keys, as a JSON Schema.

For images the steps are, in this order: decode, resize, crop, ``(pixel * scale - mean) / std``,
layout, dtype. For arrays: reshape, transpose, ``(value * scale - mean) / std``, dtype. Keys that are
left out do nothing; ``dtype`` is then the model input's own. ``transform`` carries it out. This
module imports nothing, so that specs are checked in a bare installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gate.core.canonical import JsonValue

DTYPES: Final = ("float32", "float64", "float16", "uint8", "int8", "int16", "int32", "int64")

INTERPOLATIONS: Final = ("bilinear", "bicubic", "nearest", "lanczos", "box")

IMAGE_KEYS: Final = frozenset({"decode", "resize", "crop", "interpolation"})
"""Keys that only images have."""

ARRAY_KEYS: Final = frozenset({"reshape", "transpose"})
"""Keys that only arrays have."""

_SIZE: JsonValue = {"type": "integer", "minimum": 1, "maximum": 16384}
_PAIR: JsonValue = {"type": "array", "items": _SIZE, "minItems": 2, "maxItems": 2}
_SIZE_OR_PAIR: JsonValue = {"anyOf": [_SIZE, _PAIR]}
_NUMBERS: JsonValue = {
    "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]
}
_POSITIVE: JsonValue = {"type": "number", "exclusiveMinimum": 0}

PREPROCESS_SCHEMA: Mapping[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "decode": {
            "enum": ["rgb", "bgr", "gray"],
            "description": "Colour order of decoded images; rgb where it is left out.",
        },
        "resize": {
            **_SIZE_OR_PAIR,
            "description": "Images: length of the shorter side, the ratio kept; or [height, width].",
        },
        "crop": {
            **_SIZE_OR_PAIR,
            "description": "Images: centre crop, a square or [height, width].",
        },
        "interpolation": {
            "enum": list(INTERPOLATIONS),
            "description": "Filter of resize, with antialiasing, as in Pillow; bilinear by default.",
        },
        "reshape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "maxItems": 8,
            "description": "Arrays: shape of one sample, with no batch axis.",
        },
        "transpose": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 7},
            "uniqueItems": True,
            "description": "Arrays: order of the axes of one sample, after reshape.",
        },
        "scale": {"type": "number", "description": "Factor applied before mean and std."},
        "mean": {**_NUMBERS, "description": "Subtracted: one number, or one a channel."},
        "std": {
            "anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1}],
            "description": "Divided by, after mean: one number, or one a channel.",
        },
        "layout": {
            "enum": ["nchw", "nhwc"],
            "description": "Where the channels are: first (nchw, the default) or last.",
        },
        "dtype": {
            "enum": list(DTYPES),
            "description": "Element type; the model input's by default.",
        },
    },
}
"""JSON Schema (closed) of ``data.preprocess`` and of every other declared input transform."""
