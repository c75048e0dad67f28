"""LiteRT, Keras and the TensorFlow converter pass the conformance kits."""

from typing import Any, ClassVar

import pytest

from gate.core.artifact import Format
from gate.models import tensorflow
from gate.testing.backend_kit import BackendKit
from gate.testing.quantizer_kit import QuantizerKit

pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")
# An optional package that has no build for every machine; it is there wherever it installs.
if reason := tensorflow.missing():
    pytest.skip(reason, allow_module_level=True)


class TestXnnpack(BackendKit):
    backend = "litert"
    reference_format = Format.TFLITE
    quantizer = "tflite"
    quantizer_options: ClassVar[dict[str, Any]] = {"mode": "int8", "io": "int8"}


class TestReferenceKernels(TestXnnpack):
    target_options: ClassVar[dict[str, Any]] = {"kernels": "reference"}
    quantizer_options: ClassVar[dict[str, Any]] = {"mode": "dynamic"}


class TestKeras(BackendKit):
    backend = "keras"
    reference_format = Format.KERAS
    quantizer = "none"


class TestDynamic(QuantizerKit):
    quantizer = "tflite"
    backend = "litert"


class TestInt8(TestDynamic):
    options: ClassVar[dict[str, Any]] = {"mode": "int8", "io": "uint8", "per_channel": False}
