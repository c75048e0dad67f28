"""Quantizer: ONNX Runtime's weights of 4, 8 or 2 bits by block, in matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.quantize import _onnx
from gate.quantize._onnx_method import OnnxMethod, OnnxWork
from gate.quantize.base import OptionsError, QuantizeError

_LIBRARY = "quantization/matmul_nbits_quantizer.py"
_PRODUCT = "_MatMul"
"""What the library appends to the name of a Gemm that it writes as a product and an addition."""


class OnnxRuntimeMatMulNBits(OnnxMethod):
    """``MatMulNBitsQuantizer`` on the pre-processed model, each Gemm written as a product and an addition.

    Constant right operands alone are quantized; activations stay in floating point, or are taken to int8
    inside of the kernel (``accuracy_level: 4``).
    """

    name = "onnxruntime-matmul-nbits"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "bits": {"enum": [2, 4, 8], "default": 4, "description": "Bits of a weight."},
            "block_size": {
                "enum": [16, 32, 64, 128, 256],
                "default": 32,
                "description": "Weights of a column that share a scale.",
            },
            "symmetric": {
                "type": "boolean",
                "default": True,
                "description": "Zero points in the middle.",
            },
            "format": {
                "enum": ["QOperator", "QDQ"],
                "default": "QOperator",
                "description": "MatMulNBits, or DequantizeLinear before MatMul.",
            },
            "accuracy_level": {
                "enum": [0, 1, 2, 3, 4],
                "default": 0,
                "description": "Least precision of the product: 0 unset, 1 float32, 2 float16, 3 bfloat16,"
                " 4 int8. Of QOperator files only: for QDQ the runtime decides.",
            },
            "algorithm": {
                "enum": ["nearest", "hqq"],
                "default": "nearest",
                "description": "How scales are chosen: from the largest weight, or by half-quadratic"
                " optimisation of the error (needs torch; QOperator, symmetric: false).",
            },
            "keep_float": _onnx.COMMON_PROPERTIES["keep_float"],
            "preprocess": _onnx.COMMON_PROPERTIES["preprocess"],
        },
    }

    def unavailable(self) -> str | None:
        """Why this quantizer cannot work here and how to get it."""
        missing = super().unavailable()
        if missing is not None:
            return missing
        if find_spec("onnx_ir") is None:
            return "onnx_ir is not installed: pip install 'quantgate[onnxruntime]'"
        found = find_spec("onnxruntime")
        places = found.submodule_search_locations if found is not None else None
        if not any((Path(place) / _LIBRARY).is_file() for place in places or ()):
            return "this onnxruntime has no MatMulNBitsQuantizer: pip install 'onnxruntime>=1.22'"
        return None

    def _completed(self, options: Options) -> dict[str, JsonValue]:
        complete = super()._completed(options)
        _refuse(complete)
        return complete

    def _made(self, work: OnnxWork) -> Artifact:
        if work.options["algorithm"] == "hqq" and find_spec("torch") is None:
            raise QuantizeError("algorithm: hqq needs torch: pip install 'quantgate[torch]'")
        refused: QuantizeError | None = None
        try:
            with _onnx.quiet("ONNX Runtime's MatMulNBits quantization"):
                _write(work)
        except QuantizeError as error:
            refused = error
            if not work.written.is_file():
                raise
        # The library passes over what it cannot do and says so in its log: the file tells the rest.
        try:
            artifact = self._finished(work)
        except QuantizeError as error:
            raise QuantizeError(f"{error}; {refused}" if refused else str(error)) from error
        if refused is not None:
            raise refused
        return artifact


def _refuse(chosen: Mapping[str, JsonValue]) -> None:
    """What the library would leave out, or assert."""
    if chosen["format"] == "QDQ" and chosen["accuracy_level"]:
        raise OptionsError(
            "accuracy_level is not written into a QDQ file: the runtime decides it; leave it out, or take"
            " format: QOperator",
            option="accuracy_level",
        )
    other = chosen["format"] == "QDQ" or chosen["symmetric"] or chosen["accuracy_level"]
    if chosen["algorithm"] == "hqq" and other:
        raise OptionsError(
            "algorithm: hqq gives zero points in floating point: it takes format: QOperator, symmetric:"
            " false and no accuracy_level",
            option="algorithm",
        )


def _write(work: OnnxWork) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        HQQWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
        QuantFormat,
    )
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(onnx.load_model(str(work.prepared)))
    del model.model.graph.value_info[:]  # of weights that are about to change their type
    model.replace_gemm_with_matmul()
    options = work.options
    bits, size = options["bits"], options["block_size"]
    hqq = options["algorithm"] == "hqq"
    quantizer = MatMulNBitsQuantizer(
        model.model,
        bits=bits,
        block_size=size,
        is_symmetric=options["symmetric"],
        accuracy_level=options["accuracy_level"],
        quant_format=getattr(QuantFormat, options["format"]),
        algo_config=HQQWeightOnlyQuantConfig(bits=bits, block_size=size) if hqq else None,
        nodes_to_exclude=[*work.kept, *(f"{name}{_PRODUCT}" for name in work.kept)],
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(work.written))
