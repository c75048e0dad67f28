"""Puts an explicit quantization into the text of a spec, and leaves everything else as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.core.canonical import JsonValue
from gate.core.tolerance import SourcePosition
from gate.spec.extends import Extender
from gate.spec.nodes import Mapping as Tree
from gate.spec.nodes import child, plain
from gate.spec.reader import read_bytes


class RewriteError(Exception):
    """A text that cannot be edited here; the message is for the user."""


def with_quantization(
    text: str, name: str, quantization: str, recipe: Mapping[str, JsonValue], comment: Sequence[str]
) -> str:
    """The text of the spec file ``name`` with ``recipe`` under ``quantizations.<quantization>``.

    Args:
        text: the file's text; it stays as it is outside the one value.
        name: the file, as its readers name it.
        quantization: which one.
        recipe: ``method`` and its options.
        comment: lines to put above it, where the format has comments.

    Raises:
        RewriteError: it stands in another file, or is written in a form that is not edited here.
    """
    tree, _ = read_bytes(text.encode(), name)
    section = child(tree, "quantizations") if tree is not None else None
    if not isinstance(section, Tree) or quantization not in section.entries:
        raise RewriteError("it stands in another file, which other specs may share")
    key, value = section.keys[quantization], section.entries[quantization]
    start, at = _offset(text, key), _offset(text, value.position)
    if name.endswith(".json"):
        _, end = json.JSONDecoder().raw_decode(text, at)
        edited = text[:at] + json.dumps(recipe, ensure_ascii=False) + text[end:]
    else:
        line = text.rfind("\n", 0, start) + 1
        own_line = not text[line:start].strip()
        end = (
            _flow_end(text, at) if text[at : at + 1] == "{" else _block_end(text, at, start - line)
        )
        new = _block(quantization, recipe, comment, start - line) if own_line else _flow(recipe)
        edited = text[: line if own_line else at] + new + text[end:]
    _check(edited, name, quantization, recipe, plain(tree) if tree is not None else None)
    return edited


def extended_place(file: Path, name: str, quantization: str) -> SourcePosition | None:
    """Where a file that the spec ``file`` extends says ``quantizations.<quantization>``; None where none
    does. Mappings merge: a recipe in the spec would keep whatever options that file gives beside it.
    """
    below = Extender().below(file, name)
    section = child(below, "quantizations") if below is not None else None
    return section.keys.get(quantization) if isinstance(section, Tree) else None


def _block(
    quantization: str, recipe: Mapping[str, JsonValue], comment: Sequence[str], indent: int
) -> str:
    import yaml

    said = "".join(f"# {line}\n" for line in comment)
    body = said + str(
        yaml.safe_dump({quantization: dict(recipe)}, sort_keys=False, allow_unicode=True, width=100)
    )
    return "\n".join(" " * indent + line for line in body.rstrip("\n").split("\n"))


def _flow(recipe: Mapping[str, JsonValue]) -> str:
    # JSON is YAML, and on one line.
    return json.dumps(recipe, ensure_ascii=False)


def _flow_end(text: str, at: int) -> int:
    """Index behind the bracket that closes the one at ``at``."""
    import yaml

    depth = 0
    # Events come as they are asked for: what follows the value is never looked at.
    for event in yaml.parse(text[at:], Loader=yaml.SafeLoader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
            if not depth:
                return at + (event.end_mark.index if event.end_mark is not None else 0)
    raise RewriteError("its brackets are not closed")


def _block_end(text: str, at: int, indent: int) -> int:
    """Index of the end of the last line that is indented further than the key."""
    end = at
    for line in text[at:].split("\n"):
        inside = len(line) - len(line.lstrip(" ")) > indent
        if end == at or (line.strip() and inside and not line.lstrip().startswith("#")):
            last = end + len(line)
        elif line.strip() and not inside:
            break
        end += len(line) + 1
    return last


def _check(
    edited: str, name: str, quantization: str, recipe: Mapping[str, JsonValue], before: JsonValue
) -> None:
    """The edited text says what was meant and otherwise what it said before."""
    tree, faults = read_bytes(edited.encode(), name)
    if faults or tree is None or before is None:
        raise RewriteError("it is written in a form that is not edited here")
    before["quantizations"][quantization] = dict(recipe)
    if json.dumps(plain(tree), sort_keys=True) != json.dumps(before, sort_keys=True):
        raise RewriteError("it is written in a form that is not edited here")


def _offset(text: str, where: SourcePosition) -> int:
    start = 0
    for _ in range(where.line - 1):
        start = text.index("\n", start) + 1
    return start + where.column - 1
