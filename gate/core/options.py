"""Options of a spec and their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping

from gate.core.canonical import JsonValue
from gate.core.spec import Options


def with_defaults(options: Options, schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """``options`` with the defaults of their schema filled in, where it has any."""
    defaults = {
        name: entry["default"] for name, entry in schema["properties"].items() if "default" in entry
    }
    return {**defaults, **options}
