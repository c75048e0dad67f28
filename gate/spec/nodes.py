"""A document as a tree of nodes that know their place in the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate.core.canonical import JsonValue
from gate.core.tolerance import SourcePosition
from gate.spec.diagnostics import join_path

MAX_DEPTH = 32
MAX_NODES = 100_000
"""Values in one document, what aliases stand for included."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """None, a truth value, a number or a string."""

    value: bool | int | float | str | None
    position: SourcePosition


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    position: SourcePosition


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with string keys, in the order written."""

    entries: dict[str, Node]
    keys: dict[str, SourcePosition]
    """Where each key stands."""
    position: SourcePosition


Node = Scalar | Sequence | Mapping
Path = tuple[str | int, ...]


def plain(node: Node) -> JsonValue:
    """The node's content as dicts, lists and scalars."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.value


def child(node: Node, key: str) -> Node | None:
    """The value under ``key``, or None where ``node`` is no mapping or has no such key."""
    return node.entries.get(key) if isinstance(node, Mapping) else None


def at(node: Node, path: Iterable[str | int]) -> Node:
    """Follow ``path`` as far as it goes."""
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            node = node.entries[step]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node


def key_position(node: Node, path: Path) -> SourcePosition:
    """Where the key at the end of ``path`` stands; for a list item, where the item starts."""
    parent = at(node, path[:-1])
    if path and isinstance(parent, Mapping) and isinstance(path[-1], str):
        return parent.keys.get(path[-1], parent.position)
    return at(node, path).position


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar below ``node`` with its path, in order."""
    if isinstance(node, Mapping):
        for key, value in node.entries.items():
            yield from scalars(value, (*path, key))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from scalars(item, (*path, index))
    else:
        yield path, node


def dotted(path: Iterable[str | int]) -> str:
    """``tolerances.device.top1[0]``."""
    text = ""
    for step in path:
        text = join_path(text, step)
    return text
