"""New batch-norm statistics for a network whose weights never met data.

With freshly drawn weights the initial statistics (mean 0, variance 1) are wrong in every layer; deep
networks with gates (mobilenet_v3) then shrink their signal to nothing, and a comparison of two
outputs that are zero says nothing. Training-mode forward passes over a few inputs repair that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.loading import call_entry
from gate.spec.entries import ENTRY_PATTERN

if TYPE_CHECKING:
    from torch import Tensor, nn

_NOISE_BATCH = 32

RECALIBRATE_SCHEMA: Mapping[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "description": "take batch-norm statistics anew, from an entry's inputs or from noise",
    "properties": {
        "entry": {
            "type": "string",
            "pattern": ENTRY_PATTERN,
            "description": "package.module:callable that returns one batch, a mapping of input "
            "names to batches, or an iterable of either",
        },
        "kwargs": {"type": "object", "description": "keyword arguments of the entry"},
        "noise": {
            "type": "integer",
            "minimum": 2,
            "description": "samples of standard normal noise, drawn under the run's seed",
        },
    },
    "oneOf": [{"required": ["entry"]}, {"required": ["noise"]}],
    "dependentRequired": {"kwargs": ["entry"]},
}


def recalibrate_batch_norm(
    module: nn.Module,
    options: Mapping[str, JsonValue],
    inputs: Mapping[str, InputSpec],
    *,
    seed: int,
) -> None:
    """Replace running means and variances by the mean over the batches of their batch statistics.

    Only the batch-norm layers are in training mode: dropout draws nothing.

    Raises:
        ModelError: no batch-norm layer, no batch, or batches of wrong names or shapes.
    """
    import torch
    from torch import nn

    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ModelError("recalibrate_bn: the model has no batch-norm layer")
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches instead of a moving one
        norm.train()
    batches = 0
    with torch.no_grad():
        for batch in _batches(options, inputs, seed):
            try:
                module(*batch)
            except (RuntimeError, ValueError, TypeError) as error:
                raise ModelError(f"recalibrate_bn: the model refuses a batch: {error}") from error
            batches += 1
    if not batches:
        raise ModelError("recalibrate_bn: the entry gave no batch")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()


def _batches(
    options: Mapping[str, JsonValue], inputs: Mapping[str, InputSpec], seed: int
) -> Iterator[tuple[Tensor, ...]]:
    if "noise" in options:
        yield from _noise(options["noise"], inputs, seed)
        return
    given = call_entry(options["entry"], **options.get("kwargs", {}))
    whole = hasattr(given, "shape") or isinstance(given, Mapping)
    several: Iterable[Any] = [given] if whole else given
    for batch in several:
        yield _tensors(batch, inputs)


def _tensors(batch: Any, inputs: Mapping[str, InputSpec]) -> tuple[Tensor, ...]:
    import numpy as np
    import torch

    named = batch if isinstance(batch, Mapping) else {next(iter(inputs)): batch}
    if set(named) != set(inputs):
        raise ModelError(
            f"recalibrate_bn: the entry gives {', '.join(named)}; the model takes {', '.join(inputs)}"
        )
    return tuple(
        torch.from_numpy(np.ascontiguousarray(named[name])).to(getattr(torch, spec.dtype))
        for name, spec in inputs.items()
    )


def _noise(
    samples: int, inputs: Mapping[str, InputSpec], seed: int
) -> Iterator[tuple[Tensor, ...]]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    for spec in inputs.values():
        if any(isinstance(size, str) for size in spec.shape[1:]) or "float" not in spec.dtype:
            raise ModelError(
                "recalibrate_bn: noise needs floating-point inputs of a fixed shape; give an entry"
            )
    for start in range(0, samples, _NOISE_BATCH):
        size = min(_NOISE_BATCH, samples - start)
        yield tuple(
            torch.randn((size, *spec.shape[1:]), generator=generator)  # type: ignore[arg-type] # no names: checked above
            for spec in inputs.values()
        )
