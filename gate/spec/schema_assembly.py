"""The JSON Schema of specs put together: the core and every plugin's own options, closed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any, cast

from gate import plugins
from gate.core.canonical import JsonValue
from gate.spec.core_schema import core, count, ref, tolerance_definitions
from gate.spec.schema import KINDS, NAME, Schema

ID = "https://quantgate.readthedocs.io/schema/v1.json"
PREPROCESS = "gate.data.preprocess:PREPROCESS_SCHEMA"
"""By name, like the plugins: the stations that spec feeds are not imported here."""

_BESIDE: Schema = {
    "samples": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 2**31 - 1,
        "default": None,
        "description": "how many to draw; null for all that are left after skip",
    },
    "skip": count("samples to leave out at the start", 0, 0),
    "seed": {
        "type": ["integer", "null"],
        "minimum": 0,
        "maximum": 2**31 - 1,
        "default": None,
        "description": "order in which to draw; null keeps the source's order",
    },
    "threads": count("threads inside an operator", 1, 1),
    "dedicated": {
        "type": "boolean",
        "default": False,
        "description": "the machine does nothing else: absolute latency ceilings bind",
    },
}


class SchemaError(Exception):
    """A plugin whose options schema cannot be used; a fault of the plugin, not of a spec."""


def assemble(*, third_parties: bool = False) -> Schema:
    """Build the schema from the core and the plugins' classes, which are imported for it.

    Raises:
        SchemaError: an options schema is not a closed object schema or takes a key of the core.
        ImportError: a plugin's module is missing.
    """
    definitions: Schema = {
        "name": {
            "type": "string",
            "pattern": NAME,
            "title": "a name of letters, digits, '_', '.' and '-'",
        },
        **tolerance_definitions(),
    }
    chosen: dict[str, Schema] = {}
    for kind, (key, prefix, beside) in KINDS.items():
        names = list(plugins.table(kind) if third_parties else plugins.BUILTIN[kind])
        for name in names:
            definitions[f"{prefix}-{name}"] = _options(
                kind, name, key, {word: _BESIDE[word] for word in beside}
            )
        chosen[kind] = _dispatch(kind, names, key, prefix)
    root = core(
        sources=chosen["sources"],
        data=chosen["data"],
        quantizers=chosen["quantizers"],
        backends=chosen["backends"],
        preprocess=_preprocess(),
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "quantgate spec, version 1",
        **root,
        "$defs": definitions,
    }


def serialise(schema: Mapping[str, JsonValue]) -> str:
    """Text of the committed file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _options(kind: plugins.Kind, name: str, key: str, beside: Schema) -> Schema:
    own = _plugin_schema(kind, name)
    if own.get("type") != "object" or own.get("additionalProperties") is not False:
        raise SchemaError(f"{kind}: the options schema of '{name}' is not a closed object schema")
    if taken := sorted({key, *beside} & set(own.get("properties", {}))):
        raise SchemaError(f"{kind}: the options schema of '{name}' takes the key {taken[0]}")
    if "$ref" in json.dumps(own):
        raise SchemaError(f"{kind}: the options schema of '{name}' is not self-contained ($ref)")
    return {
        **own,
        "description": own.get("description", plugins.table(kind)[name].summary),
        "properties": {key: {"const": name}, **beside, **own.get("properties", {})},
        "required": [key, *own.get("required", ())],
    }


def _plugin_schema(kind: plugins.Kind, name: str) -> Schema:
    module, _, attribute = plugins.table(kind)[name].path.partition(":")
    return dict(getattr(importlib.import_module(module), attribute).options_schema)


def _dispatch(kind: plugins.Kind, names: list[str], key: str, prefix: str) -> Schema:
    """Options are checked against those of the chosen plugin alone, and so are the messages."""
    lines = "\n".join(f"{name}: {plugins.table(kind)[name].summary}" for name in names)
    return {
        "type": "object",
        "required": [key],
        "properties": {key: {"enum": names, "description": lines}},
        "allOf": [
            {
                "if": {"properties": {key: {"const": name}}, "required": [key]},
                "then": ref(f"{prefix}-{name}"),
            }
            for name in names
        ],
    }


def _preprocess() -> Schema:
    module, _, attribute = PREPROCESS.partition(":")
    return {
        "description": "the transform from a raw sample to the model's input",
        **cast("Any", getattr(importlib.import_module(module), attribute)),
    }
