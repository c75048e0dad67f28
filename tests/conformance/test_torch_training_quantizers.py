"""Quantization-aware training and casts pass the quantizer kit, with each option that changes what is made."""

from typing import Any, ClassVar

import pytest

from gate.core.artifact import Format
from gate.models.base import LoadedModel
from gate.testing.backend_kit import BackendKit
from gate.testing.quantizer_kit import QuantizerKit
from gate.testing.tiny import tiny_model

pytest.importorskip("torch")


class TestQatX86(QuantizerKit):
    quantizer = "torch-qat"
    backend = "torch"
    target_options: ClassVar[dict[str, Any]] = {"engine": "x86"}
    options: ClassVar[dict[str, Any]] = {"epochs": 1}


class TestQatEagerFbgemm(TestQatX86):
    modules_only = True
    target_options: ClassVar[dict[str, Any]] = {"engine": "fbgemm"}
    options: ClassVar[dict[str, Any]] = {
        "flow": "eager",
        "epochs": 2,
        "optimizer": "sgd",
        "keep_float": ["head"],
    }


class TestQatLearnedScalesOnednn(TestQatX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "onednn"}
    options: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "scales": "learned",
        "activations": "quint8/symmetric",
    }


class TestFloat16(QuantizerKit):
    quantizer = "torch-cast"
    backend = "torch"
    integers = False
    options: ClassVar[dict[str, Any]] = {"dtype": "float16"}


class TestBfloat16(TestFloat16):
    options: ClassVar[dict[str, Any]] = {"dtype": "bfloat16", "keep_float": ["stem", "head"]}


class TestOpensEager(BackendKit):
    """What eager conversion leaves is seen through: rows, captures, layers alone."""

    backend = "torch"
    quantizer = "torch-qat"
    target_options: ClassVar[dict[str, Any]] = {"engine": "fbgemm"}
    quantizer_options: ClassVar[dict[str, Any]] = {
        "flow": "eager",
        "epochs": 1,
        "keep_float": ["stem"],
    }

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
        return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("model"), modules_only=True)
