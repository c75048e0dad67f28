"""What the sources that build a module in process have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gate.core.artifact import Format
from gate.core.spec import ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.hashing import module_bytes, module_sha256

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` inside, and leave the generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def call_entry(entry: str, **kwargs: Any) -> Any:
    """Load a trusted entry and call it.

    Raises:
        ModelError: the entry cannot be loaded, or raised.
    """
    from gate.spec.entries import EntryError, load_entry

    try:
        function = load_entry(entry)
    except EntryError as error:
        raise ModelError(str(error)) from error
    try:
        return function(**kwargs)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(f"'{entry}' raised {type(error).__name__}: {error}") from error


def finish(module: nn.Module, spec: ModelSpec) -> LoadedModel:
    """The module, in evaluation mode and with its identity."""
    module.eval()
    return LoadedModel(
        format=Format.TORCH_MODULE,
        sha256=module_sha256(module),
        size_bytes=module_bytes(module),
        spec=spec,
        module=module,
    )
