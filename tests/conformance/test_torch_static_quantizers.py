"""Static quantization by torch passes the quantizer kit with each observer, correction and flow."""

from typing import Any, ClassVar

import pytest

from gate.testing.quantizer_kit import QuantizerKit

pytest.importorskip("torch")


class TestFxMseCorrected(QuantizerKit):
    quantizer = "torch-fx-static"
    backend = "torch"
    target_options: ClassVar[dict[str, Any]] = {"engine": "x86"}
    options: ClassVar[dict[str, Any]] = {
        "observer": "mse",
        "weights": "int8/per-tensor",
        "weight_observer": "mse",
        "correct": ["adaround", "bias-correction"],
        "adaround_iterations": 20,
        "keep_float": {"sensitivity": 1},
    }


class TestEagerX86(QuantizerKit):
    quantizer = "torch-eager-static"
    backend = "torch"
    modules_only = True
    target_options: ClassVar[dict[str, Any]] = {"engine": "x86"}
    options: ClassVar[dict[str, Any]] = {
        "correct": ["cross-layer-equalization", "bias-correction"],
        "observer": "percentile",
        "percentile": 99.9,
        "weights": "int8/per-tensor/affine",
        "keep_float": {"first": 1},
    }
