"""Content identities: of files, of ONNX files with external data, and of modules in memory."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gate.models.base import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

_CHUNK = 1 << 20
_FRAMEWORK_PACKAGES = ("torch.", "torchvision.", "torchao.")


def files_sha256(paths: Iterable[Path]) -> str:
    """Hexadecimal SHA-256 over the content of ``paths``, one after the other.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def check_sha256(found: str, expected: str | None, *, what: object) -> None:
    """Compare a digest with the one that the spec gives, where it gives one.

    Raises:
        ModelError: they differ.
    """
    if expected is not None and found != expected.lower():
        raise ModelError(
            f"{what}: SHA-256 is {found}, the spec demands {expected.lower()}: the file was changed "
            "or damaged; restore it, or put the new digest into the spec if the change is meant"
        )


def module_sha256(module: nn.Module) -> str:
    """Hexadecimal SHA-256 over structure and state of a module.

    Structure is every submodule's path, class and ``extra_repr`` (strides, sizes ...), the source of
    classes that are not the framework's own, and the code of FX graphs; state is every parameter
    and buffer with name, type, shape and bytes. The same module built twice gives the same digest.
    """
    digest = hashlib.sha256()
    for part in _structure(module):
        digest.update(part.encode())
        digest.update(b"\0")
    for name, tensor in _tensors(module):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\0".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def module_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module, shared ones counted once."""
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(module))


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements of a tensor in row-major order, as stored."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if tensor.is_quantized:
        flat = flat.int_repr()
    return flat.view(torch.uint8).numpy().tobytes()


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    # Both iterators leave out tensors that were seen under another name.
    yield from module.named_parameters()
    yield from module.named_buffers()


def _structure(module: nn.Module) -> Iterator[str]:
    from torch import fx

    seen: set[type] = set()
    for name, part in module.named_modules():
        kind = type(part)
        if isinstance(part, fx.GraphModule):
            # Each GraphModule has a class of its own; its code is what it is.
            yield f"{name}={part.code}"
            continue
        yield f"{name}={kind.__module__}.{kind.__qualname__}({part.extra_repr()})"
        if kind not in seen and not f"{kind.__module__}.".startswith(_FRAMEWORK_PACKAGES):
            seen.add(kind)
            yield _source(kind)


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return "<no source>"  # defined in an interactive session; path and state still count
