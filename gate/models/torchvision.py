"""Model source: a torchvision model by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.batchnorm import RECALIBRATE_SCHEMA, recalibrate_batch_norm
from gate.models.loading import finish, seeded
from gate.models.weights import FILE_PROPERTIES, load_weights

if TYPE_CHECKING:
    from torch import nn

_DIGITS = re.compile(r"[-_]([0-9a-f]{8,})$")
"""With which torchvision's file names end: the first ones of their SHA-256."""

_WEIGHTS: Mapping[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **FILE_PROPERTIES,
        "enum": {
            "type": "string",
            "description": "torchvision weights, as in IMAGENET1K_V1 or DEFAULT; downloaded once",
        },
    },
    "oneOf": [{"required": ["path"]}, {"required": ["enum"]}],
    "dependentRequired": {"format": ["path"], "sha256_prefix": ["path"]},
}


class Torchvision:
    """Builds ``torchvision.models`` networks with weights of a file, of an enum, or drawn from the seed."""

    name: ClassVar[str] = "torchvision"
    produces: ClassVar[Format] = Format.TORCH_MODULE
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "as torchvision.models.get_model takes it"},
            "weights": _WEIGHTS,
            "kwargs": {"type": "object", "description": "keyword arguments of the model builder"},
            "recalibrate_bn": RECALIBRATE_SCHEMA,
        },
        "required": ["name"],
    }

    def unavailable(self) -> str | None:
        """Why torch or torchvision is not here, or None."""
        for package in ("torch", "torchvision"):
            if find_spec(package) is None:
                return f"{package} is not installed: pip install 'quantgate[torch]'"
        return None

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:
        """Build the network under ``seed``; see ``ModelSource.load``."""
        name: str = spec.options["name"]
        weights: Mapping[str, JsonValue] = spec.options.get("weights") or {}
        with seeded(seed):
            module = _build(name, spec.options.get("kwargs", {}))
        if "enum" in weights:
            weights = _download(name, weights)
        if weights:
            load_weights(module, weights)
        if options := spec.options.get("recalibrate_bn"):
            recalibrate_batch_norm(module, options, spec.inputs, seed=seed)
        return finish(module, spec)


def _models() -> Any:
    from gate.models.torchvision_compat import import_torchvision

    try:
        return import_torchvision().models
    except ImportError as error:
        raise ModelError(str(error)) from error


def _build(name: str, kwargs: Mapping[str, JsonValue]) -> nn.Module:
    models = _models()
    known = models.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" (did you mean {' or '.join(repr(n) for n in near)}?)" if near else ""
        raise ModelError(f"torchvision has no model '{name}'{hint}")
    # Left to itself, a model may fetch the weights of its backbone.
    backbone = {"weights_backbone": None} if name in _with_backbone(models) else {}
    try:
        module: nn.Module = models.get_model(name, weights=None, **backbone, **kwargs)
    except (TypeError, ValueError) as error:
        raise ModelError(f"torchvision model '{name}' refuses its kwargs: {error}") from error
    return module


def _with_backbone(models: Any) -> list[str]:
    return [
        *models.list_models(module=models.detection),
        *models.list_models(module=models.segmentation),
    ]


def _download(name: str, weights: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Fetch the weights of an enum into torch's own cache; the file is then read like any other."""
    import torch

    choices = _models().get_model_weights(name)
    wanted = str(weights["enum"]).rsplit(".", 1)[-1]
    if wanted not in choices.__members__:
        raise ModelError(
            f"torchvision has no weights '{wanted}' for {name}; it has "
            f"{', '.join(choices.__members__)}"
        )
    url = choices[wanted].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    digits = _DIGITS.search(path.stem)
    prefix = digits[1] if digits else None
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the weights {wanted} of {name} cannot be downloaded from {url} ({error}); fetch the "
                f"file elsewhere and put it at {path}, or name it in the spec under weights.path "
                "with format: torch and its sha256"
            ) from error
    return {
        "path": str(path),
        "format": "torch",
        # The file may have been there before: put there by hand, or cut short.
        **({"sha256_prefix": prefix} if prefix else {}),
        **({"sha256": weights["sha256"]} if "sha256" in weights else {}),
    }
