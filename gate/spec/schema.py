"""The JSON Schema of specs (draft 2020-12) in use, and what it says about each plugin's options."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, cast

from gate import plugins

Schema = dict[str, Any]

FILE = "v1.json"
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
"""Of specs, models, quantizations and targets: safe in a case's id and as a file name, which three of them
make together and which has at most 255 characters."""
FACTS = "x-gate"
"""Key of what plans need to know about a plugin, beside its options; no word of JSON Schema."""
_SAMPLES = ("samples", "skip", "seed")
_TARGET = ("threads", "dedicated")
KINDS: dict[plugins.Kind, tuple[str, str, tuple[str, ...]]] = {
    "sources": ("source", "source", ()),
    "data": ("source", "data", _SAMPLES),
    "quantizers": ("method", "quantizer", ()),
    "backends": ("backend", "backend", _TARGET),
}
"""Kind -> the key that chooses the plugin, the prefix of its definition, the keys beside its own."""


class SchemaError(Exception):
    """A plugin that cannot be described in the schema; a fault of the plugin, not of a spec."""


def committed_text() -> str:
    """Text of the schema that ships with the package."""
    return (resources.files("gate.spec") / "schema" / FILE).read_text(encoding="utf-8")


@cache
def current() -> Schema:
    """The schema that specs are checked against: the committed one, or, where third parties add
    names, the assembled one. Loaded once a process."""
    if any(plugins.third_party(kind) for kind in KINDS):
        from gate.spec.schema_assembly import assemble

        return assemble(third_parties=True)
    return cast("Schema", json.loads(committed_text()))


def option_definition(kind: plugins.Kind, name: str) -> Schema:
    """Schema of everything that stands beside the key that chose the plugin ``name``."""
    return cast("Schema", current()["$defs"][f"{KINDS[kind][1]}-{name}"])


def discriminator(kind: plugins.Kind) -> str:
    """Key that chooses the plugin: ``source``, ``method`` or ``backend``."""
    return KINDS[kind][0]


def reserved(kind: plugins.Kind) -> frozenset[str]:
    """Keys beside the plugin's own options."""
    key, _, beside = KINDS[kind]
    return frozenset((key, *beside))


def facts(kind: plugins.Kind, name: str) -> Schema:
    """What plans need to know about a plugin: ``accepts``, ``produces`` ... as names of formats."""
    return cast("Schema", option_definition(kind, name)[FACTS])


def conversions() -> dict[str, list[str]]:
    """Format -> the other formats that a model in it converts into."""
    return cast("dict[str, list[str]]", current()[FACTS]["conversions"])
