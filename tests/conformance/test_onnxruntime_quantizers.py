"""Every ONNX Runtime quantizer passes the quantizer kit."""

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


class TestStaticSixteenBits(QuantizerKit):
    quantizer = "onnxruntime-static"
    backend = "onnxruntime"
    integers = False
    options: ClassVar = {"activations": "uint16", "keep_float": {"last": 1}}


class TestDynamic(QuantizerKit):
    quantizer = "onnxruntime-dynamic"
    backend = "onnxruntime"


class TestMatMulNBits(QuantizerKit):
    quantizer = "onnxruntime-matmul-nbits"
    backend = "onnxruntime"
    integers = False


class TestMatMulNBitsInInt8(QuantizerKit):
    quantizer = "onnxruntime-matmul-nbits"
    backend = "onnxruntime"
    options: ClassVar = {"bits": 8, "accuracy_level": 4, "symmetric": False, "block_size": 64}


class TestMatMulNBitsQdq(QuantizerKit):
    quantizer = "onnxruntime-matmul-nbits"
    backend = "onnxruntime"
    options: ClassVar = {"format": "QDQ"}


class TestFloat16(QuantizerKit):
    quantizer = "onnxruntime-fp16"
    backend = "onnxruntime"
    integers = False


class TestFloat16KeepingConv(QuantizerKit):
    quantizer = "onnxruntime-fp16"
    backend = "onnxruntime"
    options: ClassVar = {"keep_ops": ["Conv"]}
    integers = False


class TestNncf(QuantizerKit):
    quantizer = "nncf"
    backend = "onnxruntime"
    options: ClassVar = {"correct": ["bias-correction"], "keep_float": {"first": 1}}
