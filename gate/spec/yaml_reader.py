"""YAML 1.2 text -> nodes, from the event stream of PyYAML.

The parser only splits the text; what a word means follows the core schema of YAML 1.2
(``gate.spec.scalars``), because PyYAML's own resolution is that of 1.1 (``on``, ``0123``, ``12:30``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events

from gate.core.tolerance import SourcePosition
from gate.spec.diagnostics import Diagnostic, join_path, shown, whole_file
from gate.spec.nodes import MAX_DEPTH, MAX_NODES, Mapping, Node, Scalar, Sequence
from gate.spec.scalars import ScalarError, resolve, text

_LOADER: Any = getattr(
    yaml, "CLoader", yaml.Loader
)  # libyaml; it parses only, nothing is constructed
_CORE = "tag:yaml.org,2002:"
_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "null": type(None),
}


class _StopError(Exception):
    """A mistake after which the rest of the file cannot be read."""

    def __init__(self, position: SourcePosition, path: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(position=position, path=path, message=message, hint=hint)


@dataclass(slots=True)
class _Open:
    """A container whose end has not been seen."""

    position: SourcePosition
    path: str
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, SourcePosition] = field(default_factory=dict)
    key: str | None = None
    """The key whose value comes next; None where a key comes next."""
    awaiting_value: bool = False
    size: int = 1
    height: int = 1

    @property
    def next_path(self) -> str:
        if not self.is_mapping:
            return join_path(self.path, len(self.items))
        return self.path if self.key is None else join_path(self.path, self.key)


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


def read(source: str, name: str) -> tuple[Node | None, list[Diagnostic]]:
    """Compose the one document of ``source``."""
    composer = _Composer(name)
    try:
        for event in yaml.parse(source, Loader=_LOADER):
            composer.feed(event)
    except _StopError as stop:
        return None, [*composer.diagnostics, stop.diagnostic]
    except yaml.YAMLError as error:
        return None, [*composer.diagnostics, _syntax(error, source, name)]
    if composer.root is None and not composer.diagnostics:
        return None, [whole_file(name, "is empty")]
    return composer.root, composer.diagnostics


_WAYS_OUT = {
    "mapping values are not allowed": "a text with ': ' in it needs quotes, and indentation must fit",
    "did not find expected key": "check the indentation",
    "did not find expected <document start>": "the document has ended before this",
    "cannot start any token": "indent with spaces, not tabs; a text that starts like this needs quotes",
}


_VARIABLE = re.compile(r"[\[{,:]\s*\$\{")
"""One that begins an unquoted value inside of brackets or braces, where YAML takes its brace for a mapping's."""


def _syntax(error: yaml.YAMLError, source: str, name: str) -> Diagnostic:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    started = getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None) or started
    hint = next((way for part, way in _WAYS_OUT.items() if part in problem), "")
    if not hint and context:
        hint = str(context)
        if started is not None and mark is not None and started.line != mark.line:
            hint = f"{context} that starts in line {started.line + 1}"
        line = source.splitlines()[mark.line : mark.line + 1] if mark is not None else []
        if any(_VARIABLE.search(text) for text in line):
            hint = 'a text with braces in it needs quotes here, as in "${NAME}/file"'
    position = SourcePosition(
        file=name,
        line=mark.line + 1 if mark is not None else 1,
        column=mark.column + 1 if mark is not None else 1,
    )
    return Diagnostic(position=position, path="", message=f"not YAML: {problem}", hint=hint)


class _Composer:
    """Builds the tree from events, without recursion, collecting what is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._documents = 0
        self._nodes = 0

    def feed(self, event: events.Event) -> None:
        """Take one event."""
        if isinstance(event, events.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, events.MappingStartEvent | events.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, events.MappingEndEvent | events.SequenceEndEvent):
            self._end()
        elif isinstance(event, events.AliasEvent):
            self._alias(event)
        elif isinstance(event, events.DocumentStartEvent):
            self._document(event)

    def _position(self, event: events.Event) -> SourcePosition:
        mark: Any = event.start_mark  # None only in events that were made by hand
        return SourcePosition(file=self.name, line=mark.line + 1, column=mark.column + 1)

    def _path(self) -> str:
        return self._stack[-1].next_path if self._stack else ""

    def _report(self, position: SourcePosition, message: str, hint: str = "") -> None:
        self.diagnostics.append(
            Diagnostic(position=position, path=self._path(), message=message, hint=hint)
        )

    def _document(self, event: events.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _StopError(
                self._position(event), "", "a second document starts here", "a file is one spec"
            )
        if event.version is not None and tuple(event.version) != (1, 2):
            version = ".".join(map(str, event.version))
            message = f"specs are YAML 1.2, the directive asks for {version}"
            raise _StopError(self._position(event), "", message)

    def _scalar(self, event: events.ScalarEvent) -> None:
        position = self._position(event)
        try:
            value = self._value(event)
        except ScalarError as error:
            self._report(position, str(error))
            value = None
        self._add(Scalar(value, position), event.anchor, 1, 0, plain=bool(event.implicit[0]))

    def _value(self, event: events.ScalarEvent) -> bool | int | float | str | None:
        tag = event.tag
        if tag is None:
            return resolve(event.value) if event.implicit[0] else text(event.value)
        if tag == "!":
            return text(event.value)
        kind = tag.removeprefix(_CORE)
        if not tag.startswith(_CORE) or kind not in _KINDS:
            raise ScalarError(f"the tag '{shown(tag)}' is not allowed; only the core tags are")
        if kind == "str":
            return text(event.value)
        value = resolve(event.value)
        if not isinstance(value, _KINDS[kind]) or (kind != "bool" and isinstance(value, bool)):
            raise ScalarError(f"'{shown(event.value)}' is no {kind}, as its tag says")
        return float(value) if kind == "float" and isinstance(value, int) else value

    def _start(self, event: events.MappingStartEvent | events.SequenceStartEvent) -> None:
        position = self._position(event)
        is_mapping = isinstance(event, events.MappingStartEvent)
        if len(self._stack) >= MAX_DEPTH:
            raise _StopError(position, self._path(), f"nested deeper than {MAX_DEPTH} levels")
        expected = _CORE + ("map" if is_mapping else "seq")
        if event.tag not in (None, "!", expected):
            self._report(
                position, f"the tag '{shown(event.tag)}' is not allowed; only the core tags are"
            )
        self._stack.append(_Open(position, self._path(), event.anchor, is_mapping))

    def _end(self) -> None:
        opened = self._stack.pop()
        node: Node = (
            Mapping(opened.entries, opened.keys, opened.position)
            if opened.is_mapping
            else Sequence(tuple(opened.items), opened.position)
        )
        self._add(node, opened.anchor, opened.size, opened.height)

    def _alias(self, event: events.AliasEvent) -> None:
        position = self._position(event)
        if any(opened.anchor == event.anchor for opened in self._stack):
            raise _StopError(
                position, self._path(), f"the alias '*{event.anchor}' refers to itself"
            )
        anchored = self._anchors.get(event.anchor or "")
        if anchored is None:
            self._report(position, f"there is no anchor '&{event.anchor}' before this alias")
            self._add(Scalar(None, position), None, 1, 0)
            return
        if len(self._stack) + anchored.height > MAX_DEPTH:
            message = (
                f"nested deeper than {MAX_DEPTH} levels, counting what '*{event.anchor}' stands for"
            )
            raise _StopError(position, self._path(), message)
        self._add(anchored.node, None, anchored.size, anchored.height, at=position)

    def _add(
        self,
        node: Node,
        anchor: str | None,
        size: int,
        height: int,
        *,
        plain: bool = False,
        at: SourcePosition | None = None,
    ) -> None:
        """Put a finished node into the innermost open container."""
        position = at or node.position
        if anchor is not None:
            self._anchors[anchor] = _Anchored(node, size, height)
        # A container's children have been counted one by one; an alias brings all of its own.
        self._nodes += size if at is not None else 1
        if self._nodes > MAX_NODES:
            message = f"more than {MAX_NODES} values, counting what aliases stand for"
            raise _StopError(position, self._path(), message)
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        top.size += size
        top.height = max(top.height, height + 1)
        if not top.is_mapping:
            top.items.append(node)
        elif not top.awaiting_value:
            top.key = self._key(node, position, top, plain=plain)
            top.awaiting_value = True
        else:
            if top.key is not None:
                top.entries[top.key] = node
            top.key, top.awaiting_value = None, False

    def _key(self, node: Node, position: SourcePosition, top: _Open, *, plain: bool) -> str | None:
        """The key to file the next value under, or None where it is no good."""
        if not isinstance(node, Scalar):
            self._report(position, "a key must be a text, not a list or a mapping")
            return None
        if not isinstance(node.value, str):
            self._report(
                position, f"the key {json.dumps(node.value)} is not a text", "write it in quotes"
            )
            return None
        if node.value == "<<" and plain:
            self._report(
                position, "merge keys ('<<') are not YAML 1.2", "use 'extends' or an alias"
            )
            return None
        if node.value in top.keys:
            first = top.keys[node.value].line
            self._report(
                position, f"the key '{shown(node.value)}' is already given in line {first}"
            )
            return None
        top.keys[node.value] = position
        return node.value
