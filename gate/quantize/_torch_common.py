"""What the torch quantizers share: calibration, selection of modules, the written artifact."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.core.tensors import TensorMap
from gate.models.hashing import files_sha256
from gate.models.torch_packed import is_quantized_module
from gate.quantize._torch_state import STATE_FILE, save_state
from gate.quantize.base import CalibrationBatches, QuantizeError

if TYPE_CHECKING:
    from torch import Tensor, nn

KEEP_FLOAT_SCHEMA: Mapping[str, JsonValue] = {
    "type": "array",
    "items": {"type": "string"},
    "default": [],
    "description": "globs over module paths that stay in floating point",
}


def torch_versions() -> Mapping[str, str]:
    """torch decides the result of its own quantizers."""
    return {"torch": version("torch")}


def kept_in_float(module: nn.Module, globs: Sequence[str]) -> list[str]:
    """Paths of the modules that any of ``globs`` selects.

    Raises:
        QuantizeError: a glob that selects nothing.
    """
    names = [name for name, _ in module.named_modules() if name]
    kept: list[str] = []
    for glob in globs:
        found = fnmatch.filter(names, glob)
        if not found:
            raise QuantizeError(f"keep_float: '{glob}' matches no module of the model")
        kept += found
    return kept


def calibrate(
    module: nn.Module, batches: CalibrationBatches | None, inputs: Mapping[str, InputSpec]
) -> None:
    """Run every calibration batch through a prepared module.

    Raises:
        QuantizeError: there is no calibration sample.
    """
    import torch

    seen = 0
    with torch.no_grad():
        for batch in batches() if batches is not None else ():
            module(*positional(batch, inputs))
            seen += 1
    if not seen:
        raise QuantizeError("there are no calibration samples: give data.calibration in the spec")


def positional(batch: TensorMap, inputs: Mapping[str, InputSpec]) -> tuple[Tensor, ...]:
    """Tensors of a batch in the order in which the spec declares the inputs.

    Raises:
        QuantizeError: the batch lacks an input.
    """
    import numpy as np
    import torch

    if missing := [name for name in inputs if name not in batch]:
        raise QuantizeError(f"the calibration samples have no input '{missing[0]}'")
    # A copy: torch must neither see read-only memory nor change the caller's.
    return tuple(torch.from_numpy(np.array(batch[name], order="C")) for name in inputs)


def computes_quantized(module: nn.Module) -> bool:
    """True where a module or operator of a quantized network holds packed weights."""
    import torch
    from torch import fx

    weighted = any(
        is_quantized_module(part)
        and (hasattr(part, "_packed_params") or hasattr(part, "_all_weight_values"))
        for part in module.modules()
    )
    if weighted or not isinstance(module, fx.GraphModule):
        return weighted
    operators = (torch.ops.quantized.linear, torch.ops.quantized.conv2d, torch.ops.quantized.matmul)
    return any(node.target in operators for node in module.graph.nodes)


def module_kinds(module: nn.Module) -> str:
    """Classes of a network's leaf modules, for messages."""
    leaves = {type(part).__name__ for part in module.modules() if not list(part.children())}
    return ", ".join(sorted(leaves))


def write_artifact(
    module: nn.Module, *, producer: str, options: Mapping[str, JsonValue], out_dir: Path
) -> Artifact:
    """Save the state of a quantized module and describe the file."""
    path = out_dir / STATE_FILE
    save_state(module, path)
    return Artifact(
        format=Format.TORCH_QUANTIZED,
        path=path,
        sha256=files_sha256([path]),
        size_bytes=path.stat().st_size,
        producer=producer,
        options=dict(options),
    )
