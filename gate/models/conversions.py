"""Which model formats turn into which, and the one entry to the converters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gate.core.artifact import Format
from gate.models.base import LoadedModel, ModelError


def convertible(source: Format, to: Format) -> bool:
    """True where ``convert`` knows the way (the same format included). Imports no framework."""
    return source is to or (source, to) in _CONVERTERS


def convert(model: LoadedModel, to: Format, *, out_dir: Path) -> LoadedModel:
    """Turn a floating-point model into another format; files are written under ``out_dir``.

    Raises:
        ModelError: there is no way, or the exporter refuses the model.
    """
    if model.format is to:
        return model
    converter = _CONVERTERS.get((model.format, to))
    if converter is None:
        ways = ", ".join(f"{a} -> {b}" for a, b in _CONVERTERS)
        raise ModelError(
            f"{model.spec.id}: a model of format {model.format} cannot be converted to {to} "
            f"(known: {ways})"
        )
    return converter(model, out_dir)


def _to_onnx(model: LoadedModel, out_dir: Path) -> LoadedModel:
    from gate.models.onnx_export import export_onnx
    from gate.models.onnx_files import inspect_onnx

    path = out_dir / f"{model.spec.id}.onnx"
    export_onnx(model.module, model.spec.inputs, path)
    file = inspect_onnx(path)
    return LoadedModel(
        format=Format.ONNX,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        spec=model.spec,
        path=path,
    )


def _to_module(model: LoadedModel, out_dir: Path) -> LoadedModel:  # noqa: ARG001 - in memory
    from gate.models.exported import program_module
    from gate.models.hashing import module_bytes, module_sha256

    module = program_module(model.module)
    return replace(
        model,
        format=Format.TORCH_MODULE,
        module=module,
        path=None,
        sha256=module_sha256(module),
        size_bytes=module_bytes(module),
    )


def _to_tflite(model: LoadedModel, out_dir: Path) -> LoadedModel:
    from gate.models.hashing import files_sha256
    from gate.models.keras import write_tflite

    path = out_dir / f"{model.spec.id}.tflite"
    write_tflite(model, path, mode="float32")
    return replace(
        model,
        format=Format.TFLITE,
        module=None,
        path=path,
        sha256=files_sha256([path]),
        size_bytes=path.stat().st_size,
    )


_CONVERTERS: dict[tuple[Format, Format], Callable[[LoadedModel, Path], LoadedModel]] = {
    (Format.TORCH_MODULE, Format.ONNX): _to_onnx,
    (Format.EXPORTED, Format.ONNX): _to_onnx,
    (Format.EXPORTED, Format.TORCH_MODULE): _to_module,
    (Format.KERAS, Format.TFLITE): _to_tflite,
}
