"""State dicts from files: safetensors, or ``torch.load(weights_only=True)`` where the spec says so."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.models.base import ModelError
from gate.models.hashing import check_sha256, files_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

SHA256_SCHEMA: Mapping[str, JsonValue] = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}

FILE_PROPERTIES: Mapping[str, JsonValue] = {
    "path": {"type": "string", "format": "path", "description": "state dict file"},
    "sha256": {**SHA256_SCHEMA, "description": "demanded SHA-256 of the file"},
    "sha256_prefix": {
        "type": "string",
        "pattern": "^[0-9a-fA-F]{8,64}$",
        "description": "its first digits, where no more is known: torch.hub's file names end in eight",
    },
    "format": {
        "enum": ["safetensors", "torch"],
        "description": "'torch' reads a .pt or .pth state dict with weights_only=True",
    },
}

WEIGHTS_SCHEMA: Mapping[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "properties": FILE_PROPERTIES,
    "required": ["path"],
}

_PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".tar"})


def load_weights(module: nn.Module, weights: Mapping[str, JsonValue]) -> None:
    """Put the state dict of a file into ``module``, strictly.

    Raises:
        ModelError: missing file, wrong digest, refused format, keys or shapes that do not fit.
    """
    path = Path(weights["path"])
    if prefix := weights.get("sha256_prefix"):
        check_sha256_prefix(path, prefix)
    state = read_state(path, sha256=weights.get("sha256"), format=weights.get("format"))
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit the model: {error}") from error


def check_sha256_prefix(path: Path, prefix: str) -> None:
    """Compare the first digits of a file's digest.

    Raises:
        ModelError: no such file, or they differ.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    found = files_sha256([path])
    if not found.startswith(prefix.lower()):
        raise ModelError(
            f"{path}: SHA-256 is {found}, the spec demands one that begins with {prefix.lower()}: the "
            "file was changed or damaged, or is another one of that name; fetch it again"
        )


def read_state(path: Path, *, sha256: str | None, format: str | None) -> dict[str, Tensor]:  # noqa: A002 - the spec's word
    """Read tensors by name; the digest is checked before anything is parsed.

    Raises:
        ModelError: missing file, wrong digest, a pickle that the spec did not ask for, or a file
            that is not what it says.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weights file")
    kind = format or _format_of(path)
    check_sha256(files_sha256([path]), sha256, what=path)
    state = _read_safetensors(path) if kind == "safetensors" else _read_torch(path)
    import torch

    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise ModelError(
            f"{path}: holds no state dict (names to tensors); save 'model.state_dict()', not a "
            "checkpoint with optimizer or a whole module"
        )
    return state


def _format_of(path: Path) -> str:
    if path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix in _PICKLES:
        raise ModelError(
            f"{path}: pickles are refused because reading one can run code; save the state dict "
            "with safetensors.torch.save_file, or say 'format: torch' to read it with "
            "torch.load(weights_only=True)"
        )
    raise ModelError(f"{path}: expected a .safetensors file (or 'format: torch' for a state dict)")


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{path}: needs the safetensors package: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: is no safetensors file: {error}") from error


def _read_torch(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: holds more than tensors, which torch.load(weights_only=True) refuses; "
            "save 'model.state_dict()' alone"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: torch.load cannot read it: {error}") from error
