"""The JSON Schema of specs put together: the core and every plugin's own options, closed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from gate import plugins
from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.spec.choosing import NESTED, NESTED_FORMAT, NEVER_CHOSEN
from gate.spec.core_schema import core
from gate.spec.schema import FACTS, KINDS, NAME, Schema, SchemaError
from gate.spec.schema_tolerances import tolerance_definitions
from gate.spec.schema_words import count, ref
from gate.spec.tasks import decoding_definitions

ID = "urn:quantgate:spec:v1"
PREPROCESS = "gate.data.preprocess:PREPROCESS_SCHEMA"
CONVERTIBLE = "gate.models.conversions:convertible"
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
    "threads": {**count("threads inside an operator", 1, 1), "maximum": 1024},
    "dedicated": {
        "type": "boolean",
        "default": False,
        "description": "the machine does nothing else: absolute latency ceilings bind",
    },
}


def assemble(*, third_parties: bool = False) -> Schema:
    """Build the schema from the core and the plugins' classes, which are imported for it.

    Raises:
        SchemaError: a plugin cannot be imported, or its options schema is not a closed object schema
            or takes a key of the core.
    """
    definitions: Schema = {
        "name": {
            "type": "string",
            "pattern": NAME,
            "title": "a name of up to 64 letters, digits, '_', '.' and '-'",
        },
        **tolerance_definitions(),
        **decoding_definitions(),
    }
    chosen: dict[str, Schema] = {}
    for kind, (key, prefix, beside) in KINDS.items():
        names = list(plugins.table(kind) if third_parties else plugins.BUILTIN[kind])
        for name in names:
            definitions[f"{prefix}-{name}"] = _options(
                kind, name, key, {word: _BESIDE[word] for word in beside}
            )
        if kind == "quantizers":
            among = _dispatch(kind, [n for n in names if n not in NEVER_CHOSEN], key, prefix)
            for name in NESTED:
                definition = f"{prefix}-{name}"
                definitions[definition] = _with_nested(definitions[definition], among)
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
        FACTS: {"conversions": _conversions()},
        "$defs": definitions,
    }


def serialise(schema: Mapping[str, JsonValue]) -> str:
    """Text of the committed file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _options(kind: plugins.Kind, name: str, key: str, beside: Schema) -> Schema:
    plugin = _plugin_class(kind, name)
    own = dict(plugin.options_schema)
    if own.get("type") != "object" or own.get("additionalProperties") is not False:
        raise SchemaError(f"{kind}: the options schema of '{name}' is not a closed object schema")
    if taken := sorted({key, *beside} & set(own.get("properties", {}))):
        raise SchemaError(f"{kind}: the options schema of '{name}' takes the key {taken[0]}")
    if "$ref" in json.dumps(own):
        raise SchemaError(f"{kind}: the options schema of '{name}' is not self-contained ($ref)")
    facts = {fact: _plain(getattr(plugin, fact)) for fact in _FACTS[kind]}
    return {
        **own,
        "description": own.get("description", plugins.table(kind)[name].summary),
        "properties": {key: {"const": name}, **beside, **own.get("properties", {})},
        "required": [key, *own.get("required", ())],
        **({FACTS: facts} if facts else {}),
    }


_FACTS: dict[plugins.Kind, tuple[str, ...]] = {
    "sources": ("produces",),
    "data": (),
    "quantizers": ("accepts", "produces", "needs_calibration"),
    "backends": ("formats",),
}
"""Class attributes that plans are made from; kept with the schema, no plugin is imported for a plan."""


def _with_nested(part: Any, among: Schema) -> Any:
    """The same options where a quantization to choose from is its name or a mapping of its own."""
    if isinstance(part, list):
        return [_with_nested(item, among) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("format") != NESTED_FORMAT:
        return {key: _with_nested(below, among) for key, below in part.items()}
    rest = {key: below for key, below in part.items() if key != "format"}
    by_name = {"type": "string", "minLength": 1, "title": "the name of a quantization or method"}
    return {**rest, "anyOf": [by_name, {**among, "title": "a mapping with a method"}]}


def _plain(value: Any) -> JsonValue:
    return sorted(value) if isinstance(value, frozenset) else value


def _plugin_class(kind: plugins.Kind, name: str) -> Any:
    path = plugins.table(kind)[name].path
    try:
        return _by_name(path)
    except (ImportError, AttributeError) as error:
        raise SchemaError(f"{kind}: '{name}' cannot be loaded from {path}: {error}") from error


def _by_name(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _conversions() -> dict[str, list[str]]:
    """Format -> the other formats that a model in it converts into."""
    convertible = _by_name(CONVERTIBLE)
    return {
        source.value: [to.value for to in Format if to is not source and convertible(source, to)]
        for source in Format
    }


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
    return {
        "description": "the transform from a raw sample to the model's input",
        **_by_name(PREPROCESS),
    }
