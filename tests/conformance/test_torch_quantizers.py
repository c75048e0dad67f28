"""Every torch quantizer passes the conformance kit, with each option that changes the kernels."""

from typing import Any, ClassVar

import pytest

from gate.testing.quantizer_kit import QuantizerKit

pytest.importorskip("torch")


class TestDynamic(QuantizerKit):
    quantizer = "torch-dynamic"
    backend = "torch"


class TestDynamicKeepsAModule(TestDynamic):
    options: ClassVar[dict[str, Any]] = {"modules": ["Linear"], "keep_float": ["head"]}


class TestStaticX86(QuantizerKit):
    quantizer = "torch-fx-static"
    backend = "torch"
    target_options: ClassVar[dict[str, Any]] = {"engine": "x86"}


class TestStaticFbgemmPerTensor(TestStaticX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "fbgemm"}
    options: ClassVar[dict[str, Any]] = {"weights": "int8/per-tensor", "observer": "minmax"}


class TestStaticOnednnSymmetric(TestStaticX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "onednn"}
    options: ClassVar[dict[str, Any]] = {
        "activations": "quint8/symmetric",
        "observer": "moving-average",
    }


class TestStaticQnnpack(TestStaticX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "qnnpack"}
    options: ClassVar[dict[str, Any]] = {"keep_float": ["stem*"]}


class TestNone(QuantizerKit):
    quantizer = "none"
    backend = "torch"
    quantizes = False
