"""Explicit lazy tables of everything that can be named in a spec.

A name maps to ``module:Class`` and to the extra that installs what it needs. Nothing is imported
until it is asked for, and the modules themselves import their framework only when used, so tables,
schema and plans work in a bare installation. Third parties add names through the entry-point groups
``gate.quantizers``, ``gate.backends``, ``gate.sources`` and ``gate.data``; a name that is taken raises.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Kind = Literal["quantizers", "backends", "sources", "data"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One table line."""

    path: str
    """``package.module:Class``."""
    summary: str
    extra: str | None = None
    """Extra of this distribution that installs what the plugin needs."""


BUILTIN: dict[Kind, dict[str, Plugin]] = {
    "sources": {
        "torchvision": Plugin(
            "gate.models.torchvision:Torchvision", "a torchvision model by name", "torch"
        ),
        "python": Plugin(
            "gate.models.python:PythonEntry", "a trusted package.module:callable", "torch"
        ),
        "onnx": Plugin("gate.models.onnx:OnnxFile", "an ONNX file", "onnxruntime"),
        "exported": Plugin("gate.models.exported:Exported", "a torch.export .pt2 file", "torch"),
        "tflite": Plugin("gate.models.tflite:TfliteFile", "a LiteRT file (.tflite)", "litert"),
        "keras": Plugin("gate.models.keras:KerasModel", "a Keras model", "tflite"),
    },
    "data": {
        "image-folder": Plugin(
            "gate.data.image_folder:ImageFolder", "class folders or a list file", "images"
        ),
        "yolo-folder": Plugin(
            "gate.data.box_folder:YoloFolder", "images with boxes in text files", "images"
        ),
        "mask-folder": Plugin(
            "gate.data.mask_folder:MaskFolder", "images with masks of classes", "images"
        ),
        "npz": Plugin("gate.data.npz:Npz", "arrays of an .npz file"),
        "sklearn-digits": Plugin(
            "gate.data.sklearn_digits:SklearnDigits", "1797 handwritten digits", "sklearn"
        ),
        "python": Plugin("gate.data.python:PythonData", "a trusted package.module:callable"),
    },
    "quantizers": {
        "none": Plugin("gate.quantize.none:NoQuantizer", "the float model on another backend"),
        "candidate": Plugin("gate.quantize.candidate:GivenCandidate", "an already quantized file"),
        "python": Plugin(
            "gate.quantize.python:PythonQuantizer", "a trusted package.module:callable"
        ),
        "ladder": Plugin(
            "gate.quantize.ladder:Ladder", "the cheapest of several that holds the tolerances"
        ),
        "search": Plugin(
            "gate.quantize.search:MixedSearch", "layers of another in float, within a budget"
        ),
        "tflite": Plugin(
            "gate.quantize.tflite:TfliteQuantizer", "TensorFlow's LiteRT converter", "tflite"
        ),
        "torch-dynamic": Plugin(
            "gate.quantize.torch_dynamic:TorchDynamic", "torch eager dynamic int8", "torch"
        ),
        "torch-fx-static": Plugin(
            "gate.quantize.torch_fx_static:TorchFxStatic", "torch FX static PTQ", "torch"
        ),
        "torch-eager-static": Plugin(
            "gate.quantize.torch_eager_static:TorchEagerStatic", "torch eager static PTQ", "torch"
        ),
        "torch-qat": Plugin(
            "gate.quantize.torch_qat:TorchQat", "torch quantization-aware training", "torch"
        ),
        "torch-cast": Plugin(
            "gate.quantize.torch_cast:TorchCast", "torch in float16 or bfloat16", "torch"
        ),
        "pt2e": Plugin(
            "gate.quantize.pt2e:Pt2e", "torch export (PT2E) static int8, or trained", "torchao"
        ),
        "sparse-2-4": Plugin(
            "gate.quantize.sparse_2_4:Sparse24", "2:4 pruning, then torch FX static int8", "torch"
        ),
        "torchao-weight-only": Plugin(
            "gate.quantize.torchao_weight_only:TorchaoWeightOnly",
            "torchao weights of 8, 4 or 2 bits",
            "torchao",
        ),
        "torchao-dynamic": Plugin(
            "gate.quantize.torchao_dynamic:TorchaoDynamic", "torchao dynamic int8", "torchao"
        ),
        "onnxruntime-dynamic": Plugin(
            "gate.quantize.onnxruntime_dynamic:OnnxRuntimeDynamic",
            "ONNX Runtime dynamic int8",
            "onnxruntime",
        ),
        "onnxruntime-matmul-nbits": Plugin(
            "gate.quantize.onnxruntime_matmul_nbits:OnnxRuntimeMatMulNBits",
            "ONNX Runtime weights of 4, 8 or 2 bits by block",
            "onnxruntime",
        ),
        "onnxruntime-fp16": Plugin(
            "gate.quantize.onnxruntime_fp16:OnnxRuntimeFp16",
            "ONNX model in 16-bit floating point",
            "onnxruntime",
        ),
        "onnxruntime-static": Plugin(
            "gate.quantize.onnxruntime_static:OnnxRuntimeStatic",
            "ONNX Runtime static PTQ",
            "onnxruntime",
        ),
        "nncf": Plugin("gate.quantize.nncf:Nncf", "NNCF static PTQ of ONNX models", "nncf"),
    },
    "backends": {
        "torch": Plugin("gate.backends.torch:TorchBackend", "PyTorch eager on the CPU", "torch"),
        "onnxruntime": Plugin(
            "gate.backends.onnxruntime:OnnxRuntimeBackend",
            "ONNX Runtime on the CPU",
            "onnxruntime",
        ),
        "litert": Plugin(
            "gate.backends.litert:LiteRtBackend", "LiteRT (TensorFlow Lite) on the CPU", "litert"
        ),
        "keras": Plugin(
            "gate.backends.keras:KerasBackend",
            "Keras itself, for references of that form",
            "tflite",
        ),
    },
}


class UnknownPluginError(LookupError):
    """A name that no table holds."""


class DuplicatePluginError(RuntimeError):
    """A third-party entry point took a name that is already in a table."""


@cache
def _entry_points() -> Any:
    # One scan of the installed distributions serves all tables.
    from importlib.metadata import entry_points

    return entry_points()


@cache
def table(kind: Kind) -> dict[str, Plugin]:
    """Built-in lines of one table and those of installed third parties.

    Raises:
        DuplicatePluginError: two lines have the same name.
    """
    lines = dict(BUILTIN[kind])
    for point in _entry_points().select(group=f"gate.{kind}"):
        if point.name in lines:
            raise DuplicatePluginError(
                f"{kind}: '{point.name}' of {point.value} is already taken by {lines[point.name].path}"
            )
        distribution = point.dist.name if point.dist is not None else "an unknown distribution"
        lines[point.name] = Plugin(point.value, f"from {distribution}")
    return lines


def third_party(kind: Kind) -> bool:
    """True where an installed distribution added a name to the table."""
    return len(table(kind)) > len(BUILTIN[kind])


@cache
def load(kind: Kind, name: str) -> Any:
    """Return the one instance of a plugin.

    Raises:
        UnknownPluginError: no such name.
    """
    try:
        plugin = table(kind)[name]
    except KeyError:
        raise UnknownPluginError(f"{kind}: unknown name '{name}'") from None
    module, _, attribute = plugin.path.partition(":")
    return getattr(importlib.import_module(module), attribute)()
