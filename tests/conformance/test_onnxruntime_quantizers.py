"""Both ONNX Runtime quantizers pass the quantizer kit."""

from typing import ClassVar

from gate.testing.quantizer_kit import QuantizerKit


class TestStatic(QuantizerKit):
    quantizer = "onnxruntime-static"
    backend = "onnxruntime"


class TestStaticQOperatorEntropy(QuantizerKit):
    quantizer = "onnxruntime-static"
    backend = "onnxruntime"
    options: ClassVar = {
        "format": "QOperator",
        "weights": "int8/per-tensor",
        "calibrate": "entropy",
    }


class TestDynamic(QuantizerKit):
    quantizer = "onnxruntime-dynamic"
    backend = "onnxruntime"
