"""A tiny network with what quantizers meet everywhere: conv + BN + ReLU, a residual sum, a linear head."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec, ModelSpec, TargetSpec
from gate.core.tensors import TensorMap
from gate.models.base import LoadedModel
from gate.models.conversions import convert
from gate.models.hashing import files_sha256, module_bytes, module_sha256

if TYPE_CHECKING:
    from torch import nn

INPUT = "image"
SHAPE = (3, 12, 12)


def tiny_batches(count: int = 4, size: int = 16, *, seed: int = 0) -> list[TensorMap]:
    """Smooth non-negative float32 images, shape (size, 3, 12, 12), the same for the same seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((count, size, 3, 4, 4), dtype=np.float32)
    images = coarse.repeat(3, axis=3).repeat(3, axis=4)
    return [{INPUT: batch} for batch in images]


def tiny_module(*, modules_only: bool = False) -> nn.Module:
    """The network, in evaluation mode, BN statistics taken from ``tiny_batches``; ``modules_only`` has
    no function between its modules."""
    import torch
    from torch import nn

    from gate.testing._tiny_net import TinyModulesNet, TinyNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = TinyModulesNet() if modules_only else TinyNet()
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a cumulative mean over the batches
    with torch.no_grad():
        module.train()
        for batch in tiny_batches(seed=1):
            module(torch.from_numpy(batch[INPUT]))
    for norm in norms:
        norm.momentum = 0.1
    return module.eval()


def tiny_model(
    format: Format,  # noqa: A002 - the artifact's word
    out_dir: Path,
    *,
    modules_only: bool = False,
) -> LoadedModel:
    """The network as a loaded model of ``format``; files are written under ``out_dir``."""
    import torch

    module = tiny_module(modules_only=modules_only)
    spec = ModelSpec(
        id="tiny",
        task="image-classification",
        source="python",
        options={},
        inputs={INPUT: InputSpec(shape=("N", *SHAPE), dtype="float32")},
    )
    model = LoadedModel(
        format=Format.TORCH_MODULE,
        sha256=module_sha256(module),
        size_bytes=module_bytes(module),
        spec=spec,
        module=module,
    )
    if format in (Format.KERAS, Format.TFLITE):
        return _from_file(spec, format, out_dir)
    if format is Format.ONNX:
        path = out_dir / f"{spec.id}.onnx"
        path.write_bytes(
            _converted_file(Format.TORCH_MODULE, Format.ONNX, modules_only=modules_only)
        )
        digest, size = files_sha256([path]), path.stat().st_size
        return replace(model, format=format, module=None, path=path, sha256=digest, size_bytes=size)
    if format is not Format.EXPORTED:
        return convert(model, format, out_dir=out_dir)
    example = (torch.from_numpy(tiny_batches()[0][INPUT]),)
    program: Any = torch.export.export(
        module, example, dynamic_shapes=({0: torch.export.Dim("N")},)
    )
    return LoadedModel(
        format=Format.EXPORTED, sha256=model.sha256, size_bytes=0, spec=spec, module=program
    )


def _from_file(
    spec: ModelSpec,
    format: Format,  # noqa: A002 - the artifact's word
    out_dir: Path,
) -> LoadedModel:
    """The network as a file under ``out_dir``."""
    path = out_dir / f"tiny.{format.value}"
    path.write_bytes(
        _keras_file() if format is Format.KERAS else _converted_file(Format.KERAS, Format.TFLITE)
    )
    return LoadedModel(
        format=format,
        sha256=files_sha256([path]),
        size_bytes=path.stat().st_size,
        spec=spec,
        path=path,
    )


@cache
def _converted_file(source: Format, to: Format, *, modules_only: bool = False) -> bytes:
    """Converted once a process: it takes seconds."""
    with tempfile.TemporaryDirectory(prefix="gate-tiny-") as folder:
        model = tiny_model(source, Path(folder), modules_only=modules_only)
        path = convert(model, to, out_dir=Path(folder)).path
        assert path is not None
        return path.read_bytes()


@cache
def _keras_file() -> bytes:
    """Built once a process: it takes seconds."""
    from gate.models import tensorflow

    with tempfile.TemporaryDirectory(prefix="gate-tiny-") as folder:
        weights, out = Path(folder) / "weights.npz", Path(folder) / "tiny.keras"
        np.savez(weights, **{name: one.numpy() for name, one in tiny_module().state_dict().items()})
        recipe = {
            "entry": "gate.testing.tiny_keras:build",
            "kwargs": {"weights": str(weights)},
            "root": str(Path(__file__).parents[2]),
            "trusted": ["gate"],
        }
        tensorflow.ask("save", recipe, out=str(out))
        return out.read_bytes()


def target_for(
    backend: str, options: Mapping[str, JsonValue] | None = None, *, threads: int = 1
) -> TargetSpec:
    """A target of ``backend``."""
    return TargetSpec(
        name="kit", backend=backend, threads=threads, dedicated=False, options=dict(options or {})
    )
