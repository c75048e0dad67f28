"""The shapes that the JSON Schema of specs is built of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def closed(
    description: str,
    properties: Mapping[str, Any],
    *,
    required: tuple[str, ...] = (),
    **more: Any,
) -> Schema:
    """Schema of an object that allows no other keys."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        "additionalProperties": False,
        **more,
    }


def ref(name: str) -> Schema:
    """Reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def named(description: str, item: Schema) -> Schema:
    """Schema of a non-empty mapping from names to ``item``."""
    return {
        "type": "object",
        "description": description,
        "minProperties": 1,
        "propertyNames": ref("name"),
        "additionalProperties": item,
    }


def text(description: str, **more: Any) -> Schema:
    """Schema of a string that is not empty."""
    return {"type": "string", "minLength": 1, "description": description, **more}


def count(description: str, minimum: int = 0, default: int | None = None) -> Schema:
    """Schema of a bounded integer."""
    schema = {
        "type": "integer",
        "minimum": minimum,
        "maximum": 2**31 - 1,
        "description": description,
    }
    return schema if default is None else {**schema, "default": default}


def glob(of: str) -> Schema:
    """Schema of a glob over names; any where not given."""
    return text(f"glob over the names of {of} (* ? [...])", default="*")


def texts(description: str) -> Schema:
    """Schema of a list of distinct strings, none of them empty."""
    return {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
        "description": description,
    }
