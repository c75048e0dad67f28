"""``extends``: a file merged over the files that it names, each node keeping its own position."""

from __future__ import annotations

import posixpath
from pathlib import Path

from gate.spec.diagnostics import Diagnostic, join_path, one_of, shown
from gate.spec.inside import leaves_repository
from gate.spec.nodes import Mapping, Node, Scalar, Sequence
from gate.spec.reader import SUFFIXES, read_file

_KEY = "extends"
_MOST_LEVELS = 16

Read = tuple[Node | None, list[Diagnostic]]


class Extender:
    """Reads files and what they extend; a shared file is read once for all specs."""

    def __init__(self) -> None:
        self._cache: dict[str, Read] = {}

    def read(self, path: Path, name: str) -> Read:
        """The merged tree of ``path`` and every mistake in the files that take part."""
        node, diagnostics = read_file(path, name)
        if node is None:
            return None, diagnostics
        merged, more = self._extend(node, name, (str(path.resolve()),))
        return merged, [*diagnostics, *more]

    def below(self, path: Path, name: str) -> Node | None:
        """The merged tree of what ``path`` extends, without its own; None where it extends nothing."""
        node, _ = read_file(path, name)
        return self._below(node, name, (str(path.resolve()),))[0] if node is not None else None

    def _extend(self, node: Node, name: str, chain: tuple[str, ...]) -> Read:
        if not isinstance(node, Mapping) or _KEY not in node.entries:
            return node, []
        own = Mapping(
            {key: value for key, value in node.entries.items() if key != _KEY},
            {key: value for key, value in node.keys.items() if key != _KEY},
            node.position,
        )
        base, diagnostics = self._below(node, name, chain)
        return (own if base is None else merge(base, own)), diagnostics

    def _below(self, node: Node, name: str, chain: tuple[str, ...]) -> Read:
        base: Node | None = None
        diagnostics: list[Diagnostic] = []
        if not isinstance(node, Mapping) or _KEY not in node.entries:
            return None, diagnostics
        for target, path in _targets(node.entries[_KEY], diagnostics):
            below, faults = self._file(target, path, name, chain)
            diagnostics.extend(faults)
            if below is not None:
                base = below if base is None else merge(base, below)
        return base, diagnostics

    def _file(self, target: Scalar, path: str, name: str, chain: tuple[str, ...]) -> Read:
        def fault(message: str, hint: str = "") -> Read:
            return None, [
                Diagnostic(position=target.position, path=path, message=message, hint=hint)
            ]

        written = str(target.value)
        if not written.endswith(SUFFIXES):
            return fault(f"expected a file ending in {one_of(SUFFIXES)}, found '{shown(written)}'")
        file_name = posixpath.normpath(posixpath.join(posixpath.dirname(name), written))
        file = Path(file_name)
        if (why := leaves_repository(file_name, name)) or _absent(file):
            told = f"'{shown(written)}' {why}, which is refused"
            absent = f"there is no file '{shown(file_name)}'"
            return fault(told) if why else fault(absent, "relative to the file that says so")
        identity = str(file.resolve())
        if identity in chain:
            return fault(f"'{shown(written)}' extends this file, so it would extend itself")
        if len(chain) >= _MOST_LEVELS:
            return fault(f"more than {_MOST_LEVELS} levels of extends")
        if identity not in self._cache:
            node, diagnostics = read_file(file, file_name)
            if node is not None:
                if not isinstance(node, Mapping):
                    return fault(f"'{shown(written)}' is no mapping")
                merged, more = self._extend(node, file_name, (*chain, identity))
                node, diagnostics = merged, [*diagnostics, *more]
            self._cache[identity] = (node, diagnostics)
        return self._cache[identity]


def _absent(file: Path) -> bool:
    try:
        return not file.is_file()
    except (OSError, ValueError):  # a folder without permission, a NUL: reading it says so
        return False


def _targets(node: Node, diagnostics: list[Diagnostic]) -> list[tuple[Scalar, str]]:
    items = node.items if isinstance(node, Sequence) else (node,)
    found: list[tuple[Scalar, str]] = []
    for index, item in enumerate(items):
        path = join_path(_KEY, index) if isinstance(node, Sequence) else _KEY
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            found.append((item, path))
        else:
            diagnostics.append(
                Diagnostic(
                    position=item.position,
                    path=path,
                    message="expected the name of a file or a list of names",
                )
            )
    return found


def merge(base: Node, over: Node) -> Node:
    """``over`` laid on ``base``: mappings key by key, everything else replaced."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    entries = dict(base.entries)
    keys = dict(base.keys)
    for key, node in over.entries.items():
        below = entries.get(key)
        entries[key] = node if below is None else merge(below, node)
        keys[key] = over.keys[key]
    return Mapping(entries, keys, over.position)
