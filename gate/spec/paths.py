"""Paths in options: which values they are, environment variables in them, what they are relative to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gate.core.canonical import JsonValue
from gate.spec import nodes
from gate.spec.diagnostics import Diagnostic, shown
from gate.spec.inside import leaves_repository
from gate.spec.nodes import Node, Path, Scalar, dotted

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Report = Callable[[Diagnostic], None]


@dataclass(slots=True)
class PathResolver:
    """Turns options into plain values with absolute paths."""

    declared: frozenset[str]
    """Variables that ``requires.env`` lists: where one is unset the cases are skipped, the path is
    left as written."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def options(
        self, node: Node, schema: Mapping[str, Any], path: Path, leave_out: frozenset[str]
    ) -> dict[str, JsonValue]:
        """Content of a mapping without the keys ``leave_out``; values that ``schema`` marks with the
        format ``path`` are made absolute."""
        if not isinstance(node, nodes.Mapping):
            return {}
        value: dict[str, JsonValue] = self._value(node, schema, path)
        return {key: below for key, below in value.items() if key not in leave_out}

    def _value(self, node: Node, schema: Mapping[str, Any], path: Path) -> Any:
        if isinstance(node, nodes.Mapping):
            return {
                key: self._value(below, _property(schema, key), (*path, key))
                for key, below in node.entries.items()
            }
        if isinstance(node, nodes.Sequence):
            items = _items(schema)
            return [self._value(item, items, (*path, i)) for i, item in enumerate(node.items)]
        if isinstance(node.value, str):
            if _is_path(schema):
                return self._path(node, node.value, path)
            self._no_variables(node, node.value, path)
        return node.value

    def _path(self, node: Scalar, written: str, path: Path) -> str:
        unresolved = False
        for name in _VARIABLE.findall(written):
            if _NAME.fullmatch(name) is None:
                self._report(node, path, f"'${{{name}}}' is no name of a variable")
                unresolved = True
            elif not self.environment.get(name):
                unresolved = True
                if name not in self.declared:
                    self._report(
                        node,
                        path,
                        f"the environment variable {name} is not set",
                        "set it, or list it under requires.env to have the cases skipped",
                    )
        if unresolved:
            return written
        expanded = _VARIABLE.sub(lambda match: self.environment[match.group(1)], written)
        folder = os.path.dirname(node.position.file)  # noqa: PTH120 names, not files
        found = os.path.abspath(os.path.join(folder, expanded))  # noqa: PTH100, PTH118 keep links
        # A variable is the machine's own word; a path alone is that of whoever wrote the spec.
        if expanded == written and (why := leaves_repository(found, node.position.file)):
            self._report(
                node,
                path,
                f"'{shown(written)}' {why}, which is refused",
                "name such places through an environment variable, as in ${MODELS}/net.onnx",
            )
        return found

    def _no_variables(self, node: Scalar, written: str, path: Path) -> None:
        if (found := _VARIABLE.search(written)) is not None:
            self._report(node, path, f"'{found.group()}': variables are filled in in paths only")

    def _report(self, node: Scalar, path: Path, message: str, hint: str = "") -> None:
        self.diagnostics.append(
            Diagnostic(position=node.position, path=dotted(path), message=message, hint=hint)
        )


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema and its alternatives, all of which may say what a value is."""
    found = [schema]
    for keyword in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(keyword, ()):
            found.extend(_branches(branch))
    for keyword in ("then", "else"):
        if keyword in schema:
            found.extend(_branches(schema[keyword]))
    return found


def _merged(schemas: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _property(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = []
    for branch in _branches(schema):
        below = branch.get("properties", {}).get(key)
        if below is None:
            below = branch.get("additionalProperties")
        if isinstance(below, Mapping):
            found.append(below)
    return _merged(found) if found else {}


def _items(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = [b["items"] for b in _branches(schema) if isinstance(b.get("items"), Mapping)]
    return _merged(found) if found else {}


def _is_path(schema: Mapping[str, Any]) -> bool:
    return any(branch.get("format") == "path" for branch in _branches(schema))
