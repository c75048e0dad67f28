"""Reads what ``ladder`` and ``search`` choose from: names in the spec, methods, or mappings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gate import plugins
from gate.core.canonical import JsonValue
from gate.core.spec import QuantizationSpec
from gate.spec import schema
from gate.spec.choosing import NESTED, NEVER_CHOSEN, chooses, resolved
from gate.spec.diagnostics import Diagnostic, name_or_list, shown
from gate.spec.nodes import Mapping, Node, Path, Scalar, Sequence, child, dotted

Options = Callable[[Node, Path], dict[str, JsonValue]]
"""Options of the quantization at a node, paths made absolute."""
KEEP_FLOAT = "keep_float"
_UNKNOWN = "none"
"""Stands for what could not be read, beside the diagnostic: no method to choose is called so."""


class AlternativesReader:
    """Reads one spec; mistakes are collected in ``diagnostics``."""

    def __init__(self, root: Node, options: Options) -> None:
        self._all = child(root, "quantizations")
        self._options = options
        self.diagnostics: list[Diagnostic] = []
        self._known: dict[str, QuantizationSpec] = {}

    def read(self, name: str, node: Node) -> QuantizationSpec:
        """The quantization ``name``, which chooses among others where its method does."""
        if name not in self._known:
            self._known[name] = self._read(node, ("quantizations", name), name)
        return self._known[name]

    def _read(self, node: Node, path: Path, name: str) -> QuantizationSpec:
        method = _method(node)
        key = NESTED.get(method, "")
        among = child(node, key) if key else None
        if among is None or not isinstance(node, Mapping):
            return QuantizationSpec(name=name, method=method, options=self._options(node, path))
        # What is chosen from has options of its own, with paths of their own.
        rest = {k: below for k, below in node.entries.items() if k != key}
        options = self._options(Mapping(rest, node.keys, node.position), path)
        if isinstance(among, Sequence):
            options[key] = [
                self._one(method, item, (*path, key, place))
                for place, item in enumerate(among.items)
            ]
        else:
            options[key] = self._one(method, among, (*path, key))
        return QuantizationSpec(name=name, method=method, options=options)

    def _one(self, by: str, node: Node, path: Path) -> JsonValue:
        found = (
            resolved(_method(node), _method(node), self._options(node, path))
            if isinstance(node, Mapping)
            else self._named(node, path)
        )
        known = found["method"] != _UNKNOWN
        if by == "search" and known and not _keeps_float(found["method"]):
            self._fault(
                node,
                path,
                f"{found['method']} has no option keep_float: its layers cannot be mixed",
            )
        return found

    def _named(self, node: Node, path: Path) -> dict[str, JsonValue]:
        written = str(node.value) if isinstance(node, Scalar) else ""
        others = self._all.entries if isinstance(self._all, Mapping) else {}
        known = [name for name, below in others.items() if _method(below) not in NEVER_CHOSEN]
        if written in known:
            found = self.read(written, others[written])
            return resolved(written, found.method, dict(found.options))
        if written in plugins.table("quantizers") and written not in NEVER_CHOSEN:
            needed = set(schema.option_definition("quantizers", written)["required"]) - {"method"}
            if not needed:
                return resolved(written, written, {})
            missing = " and ".join(sorted(needed))
            self._fault(node, path, f"{written} needs {missing}: write it as a mapping")
        elif written in others and chooses(_method(others[written])):
            self._fault(node, path, f"'{shown(written)}' chooses among others itself")
        else:
            message = f"'{shown(written)}' is neither a quantization of this spec nor a method"
            hint = name_or_list(written, known or plugins.table("quantizers"))
            self._fault(node, path, message, hint)
        return resolved(written, _UNKNOWN, {})

    def _fault(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        found = Diagnostic(position=node.position, path=dotted(path), message=message, hint=hint)
        self.diagnostics.append(found)


def _method(node: Node) -> str:
    found = child(node, "method")
    return found.value if isinstance(found, Scalar) and isinstance(found.value, str) else ""


def _keeps_float(method: Any) -> bool:
    return KEEP_FLOAT in schema.option_definition("quantizers", method)["properties"]
