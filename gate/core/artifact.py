"""A model file (or an in-process model) known by its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gate.core.canonical import JsonValue


class Format(StrEnum):
    """What a model is made of; quantizers say which they accept and make, backends which they open."""

    TORCH_MODULE = "torch-module"
    """A floating-point ``nn.Module`` built in process from source and weights."""
    TORCH_QUANTIZED = "torch-quantized"
    """A state file that the quantizer named by ``producer`` restores around the float module."""
    EXPORTED = "exported"
    """A ``torch.export`` program (``.pt2``)."""
    ONNX = "onnx"
    """An ONNX file, floating-point or quantized."""
    TFLITE = "tflite"
    """A LiteRT (TensorFlow Lite) flatbuffer, floating-point or quantized."""
    KERAS = "keras"
    """A Keras model: a ``.keras`` file, or what builds one in a TensorFlow process."""


ALONE = frozenset({Format.ONNX, Format.TFLITE})
"""Formats of which a file needs nothing beside it to be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One model file and how it came to be."""

    format: Format
    path: Path
    sha256: str
    """Hexadecimal SHA-256 over the file, and over its external data files in name order."""
    size_bytes: int
    """Bytes on disk, external data included."""
    producer: str
    """Quantizer (or ``candidate``/``reference``) that wrote it."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """The producer's options, complete with the defaults it used."""
