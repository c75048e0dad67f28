"""Text of a spec file -> tree of nodes with positions, strictly."""

from __future__ import annotations

from pathlib import Path

from gate.core.tolerance import SourcePosition
from gate.spec.diagnostics import Diagnostic, whole_file
from gate.spec.nodes import Node
from gate.spec.scalars import UNPRINTABLE

MAX_BYTES = 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")


def read_file(path: Path, name: str) -> tuple[Node | None, list[Diagnostic]]:
    """Read one file; ``name`` is what diagnostics call it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        return None, [whole_file(name, f"cannot be read: {reason}")]
    return read_bytes(data, name)


def read_bytes(data: bytes, name: str) -> tuple[Node | None, list[Diagnostic]]:
    """Read the content of a file; the suffix of ``name`` tells JSON from YAML.

    Returns the tree, or None where there is none to go on with, and what is wrong.
    """
    if len(data) > MAX_BYTES:
        return None, [whole_file(name, "is larger than 1 MiB, the limit for a spec")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        bad = data[error.start]
        return None, [_fault(name, before, f"the byte 0x{bad:02X} is not UTF-8")]
    if (found := UNPRINTABLE.search(text)) is not None:
        message = f"the character U+{ord(found.group()):04X} is not allowed"
        return None, [_fault(name, text[: found.start()], message)]
    if not text.strip():
        return None, [whole_file(name, "is empty")]
    # Only one of the two readers is loaded.
    if name.endswith(".json"):
        from gate.spec import json_reader

        return json_reader.read(text, name)
    from gate.spec import yaml_reader

    return yaml_reader.read(text, name)


def _fault(name: str, before: str, message: str) -> Diagnostic:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position = SourcePosition(file=name, line=len(lines), column=len(lines[-1]) + 1)
    return Diagnostic(position=position, path="", message=message)
