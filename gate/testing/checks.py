"""Checks that the conformance kits share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jsonschema

from gate import plugins
from gate.core.canonical import JsonValue

FRAMEWORKS = (
    "ai_edge_litert",
    "keras",
    "onnx",
    "onnxruntime",
    "pandas",
    "PIL",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "torchvision",
)


def loads_no_framework(kind: plugins.Kind, name: str) -> list[str]:
    """Frameworks that a fresh interpreter has loaded after making one plugin's instance."""
    program = (
        "import sys; from gate import plugins; plugins.load(*sys.argv[1:3]); "
        "print(*[m for m in sys.argv[3:] if m in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter, a constant program
        [sys.executable, "-c", program, kind, name, *FRAMEWORKS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


def assert_closed_object_schema(schema: Mapping[str, JsonValue]) -> None:
    """A valid draft 2020-12 object schema that refuses a key it does not list."""
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema.get("type") == "object"
    unknown = {"no_such_option": 1}
    found = list(jsonschema.Draft202012Validator(schema).iter_errors(unknown))
    assert any(error.validator == "additionalProperties" for error in found), (
        "options_schema must say additionalProperties: false"
    )


def assert_says_why(reason: str | None) -> None:
    """``unavailable`` gives None or words that a person can act on."""
    assert reason is None or (isinstance(reason, str) and len(reason.split()) >= 3)


def files_under(folder: Path) -> dict[str, int]:
    """Relative path -> modification time in ns of every file."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def duplicates(names: Sequence[str]) -> list[str]:
    """Names that occur more than once."""
    return sorted({name for name in names if names.count(name) > 1})
