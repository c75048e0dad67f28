"""Model source: a trusted ``package.module:callable`` that builds an ``nn.Module``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.loading import call_entry, finish, seeded
from gate.models.weights import WEIGHTS_SCHEMA, load_weights
from gate.spec.entries import ENTRY_PATTERN


class PythonEntry:
    """Calls an entry with keyword arguments and fills in the weights of a file, where one is given."""

    name: ClassVar[str] = "python"
    produces: ClassVar[Format] = Format.TORCH_MODULE
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "entry": {
                "type": "string",
                "pattern": ENTRY_PATTERN,
                "description": "package.module:callable that returns an nn.Module",
            },
            "kwargs": {"type": "object", "description": "keyword arguments of the callable"},
            "weights": WEIGHTS_SCHEMA,
        },
        "required": ["entry"],
    }

    def unavailable(self) -> str | None:
        """Why torch is not here, or None."""
        if find_spec("torch") is None:
            return "torch is not installed: pip install 'quantgate[torch]'"
        return None

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:
        """Build the module under ``seed``; see ``ModelSource.load``."""
        from torch import nn

        entry: str = spec.options["entry"]
        with seeded(seed):
            module: Any = call_entry(entry, **spec.options.get("kwargs", {}))
        if not isinstance(module, nn.Module):
            raise ModelError(f"'{entry}' returned a {type(module).__name__}, expected an nn.Module")
        if weights := spec.options.get("weights"):
            load_weights(module, weights)
        return finish(module, spec)
