"""JSON text (RFC 8259, strictly) -> nodes with positions, which the standard reader does not keep."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Callable

from gate.core.tolerance import SourcePosition
from gate.spec.diagnostics import Diagnostic, join_path, shown
from gate.spec.nodes import MAX_DEPTH, MAX_NODES, Mapping, Node, Scalar, Sequence
from gate.spec.scalars import UNPRINTABLE, ScalarError, integer, real, text

# The standard library's own scanner, with its escapes; untyped and undocumented, but as old as json.
_scan_string: Callable[[str, int, bool], tuple[str, int]] = json.decoder.scanstring  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z]+|.", re.DOTALL)
_WORDS = {"null": None, "true": True, "false": False}


class _StopError(Exception):
    """Text that is not JSON from here on."""

    def __init__(self, offset: int, message: str, hint: str = "", path: str = "") -> None:
        super().__init__(message)
        self.offset, self.message, self.hint, self.path = offset, message, hint, path


def read(source: str, name: str) -> tuple[Node | None, list[Diagnostic]]:
    """Read the one value of ``source``."""
    reader = _Reader(source, name)
    try:
        return reader.document(), reader.diagnostics
    except _StopError as stop:
        fault = Diagnostic(
            position=reader.position(stop.offset),
            path=stop.path,
            message=stop.message,
            hint=stop.hint,
        )
        return None, [*reader.diagnostics, fault]


class _Reader:
    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        self.diagnostics: list[Diagnostic] = []
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", source))]
        self._nodes = 0

    def position(self, offset: int) -> SourcePosition:
        line = bisect.bisect_right(self._starts, offset)
        return SourcePosition(file=self.name, line=line, column=offset - self._starts[line - 1] + 1)

    def document(self) -> Node:
        node, end = self._value(self._skip(0), "", 0)
        end = self._skip(end)
        if end < len(self.source):
            raise _StopError(
                end, f"not JSON: unexpected {self._found(end)} after the end of the document"
            )
        return node

    def _skip(self, offset: int) -> int:
        match = _SPACE.match(self.source, offset)
        end = match.end() if match else offset
        if self.source.startswith(("//", "/*", "#"), end):
            raise _StopError(end, "not JSON: comments are not allowed", "YAML has comments")
        return end

    def _found(self, offset: int) -> str:
        match = _WORD.match(self.source, offset)
        return f"'{shown(match.group(), 20)}'" if match else "end of the text"

    def _report(self, offset: int, path: str, message: str) -> None:
        self.diagnostics.append(
            Diagnostic(position=self.position(offset), path=path, message=message)
        )

    def _value(self, offset: int, path: str, depth: int) -> tuple[Node, int]:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _StopError(offset, f"more than {MAX_NODES} values", path=path)
        start = self.source[offset : offset + 1]
        if start in ("{", "["):
            if depth >= MAX_DEPTH:
                raise _StopError(offset, f"nested deeper than {MAX_DEPTH} levels", path=path)
            return (self._object if start == "{" else self._array)(offset, path, depth + 1)
        try:
            value, end = self._scalar(offset, start)
        except ScalarError as error:
            self._report(offset, path, str(error))
            value, end = None, self._end_of_scalar(offset)
        return Scalar(value, self.position(offset)), end

    def _scalar(self, offset: int, start: str) -> tuple[bool | int | float | str | None, int]:
        if start == '"':
            word, end = self._string(offset)
            return text(word), end
        if (match := _NUMBER.match(self.source, offset)) is not None:
            whole, fraction, exponent = match.groups()
            exact = fraction is None and exponent is None
            return integer(whole, 10) if exact else real(match.group()), match.end()
        match = _WORD.match(self.source, offset)
        word = match.group() if match else ""
        if word in _WORDS:
            return _WORDS[word], offset + len(word)
        if word in ("NaN", "Infinity") or self.source.startswith("-Infinity", offset):
            raise _StopError(offset, f"not JSON: {self._found(offset)} is not a finite number")
        hint = "strings stand in double quotes" if start == "'" else ""
        raise _StopError(offset, f"not JSON: expected a value, found {self._found(offset)}", hint)

    def _end_of_scalar(self, offset: int) -> int:
        if self.source[offset] == '"':
            return self._string(offset)[1]
        match = _NUMBER.match(self.source, offset)
        return match.end() if match else offset

    def _string(self, offset: int) -> tuple[str, int]:
        try:
            return _scan_string(self.source, offset + 1, True)
        except json.JSONDecodeError as error:
            what = error.msg.removesuffix(" at").removesuffix(" starting").lower()
            raise _StopError(error.pos, f"not JSON: {what}") from None

    def _array(self, offset: int, path: str, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        end = self._skip(offset + 1)
        if self.source.startswith("]", end):
            return Sequence((), self.position(offset)), end + 1
        while True:
            node, end = self._value(end, join_path(path, len(items)), depth)
            items.append(node)
            end, more = self._separator(end, "]")
            if not more:
                return Sequence(tuple(items), self.position(offset)), end

    def _object(self, offset: int, path: str, depth: int) -> tuple[Node, int]:
        entries: dict[str, Node] = {}
        keys: dict[str, SourcePosition] = {}
        end = self._skip(offset + 1)
        if self.source.startswith("}", end):
            return Mapping(entries, keys, self.position(offset)), end + 1
        while True:
            if not self.source.startswith('"', end):
                raise _StopError(
                    end,
                    f"not JSON: expected a key in double quotes, found {self._found(end)}",
                    path=path,
                )
            start = end
            key, end = self._string(end)
            below = join_path(path, key)
            end = self._skip(end)
            if not self.source.startswith(":", end):
                raise _StopError(
                    end, f"not JSON: expected ':', found {self._found(end)}", path=below
                )
            node, end = self._value(self._skip(end + 1), below, depth)
            if (control := UNPRINTABLE.search(key)) is not None:
                message = f"the key holds U+{ord(control.group()):04X}, which cannot be printed"
                self._report(start, path, message)
            elif key in keys:
                message = f"the key '{shown(key)}' is already given in line {keys[key].line}"
                self._report(start, path, message)
            else:
                keys[key] = self.position(start)
                entries[key] = node
            end, more = self._separator(end, "}")
            if not more:
                return Mapping(entries, keys, self.position(offset)), end

    def _separator(self, offset: int, closing: str) -> tuple[int, bool]:
        """Where the next item starts and True, or the place after ``closing`` and False."""
        end = self._skip(offset)
        if self.source.startswith(closing, end):
            return end + 1, False
        if not self.source.startswith(",", end):
            raise _StopError(
                end, f"not JSON: expected ',' or '{closing}', found {self._found(end)}"
            )
        after = self._skip(end + 1)
        if self.source.startswith(closing, after):
            raise _StopError(end, "not JSON: a comma before the closing bracket")
        return after, True
