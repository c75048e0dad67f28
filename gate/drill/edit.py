"""Changes bounds in the text of a spec where they stand, and nothing else: comments and layout stay."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.core.tolerance import SourcePosition
from gate.drill.tune import Proposal
from gate.spec.nodes import Mapping, Node, Scalar, child
from gate.spec.nodes import Sequence as Items
from gate.spec.reader import read_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A spec's text with the proposals in it."""

    text: str
    left_out: tuple[tuple[Proposal, str], ...]
    """What could not be written here, with the reason."""


def apply(text: str, name: str, proposals: Sequence[Proposal]) -> Edited:
    """Write proposals into the text of the spec file ``name``.

    A bound that stands in another file (``extends``), or that the text holds in a form other than on
    one line, is left out.
    """
    left_out: list[tuple[Proposal, str]] = []
    changes: list[tuple[int, int, str]] = []
    for proposal in proposals:
        change = (
            _addition(text, name, proposal)
            if proposal.where is None
            else _replacement(text, name, proposal.where, proposal)
        )
        if isinstance(change, str):
            left_out.append((proposal, change))
        else:
            changes.append(change)
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return Edited(text=text, left_out=tuple(left_out))


def unified_diff(path: Path, before: str, after: str) -> str:
    """A patch that ``patch -p1`` and ``git apply`` take; empty where nothing changes."""
    name = path.as_posix()
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            fromfile=f"a/{name}",
            tofile=f"b/{name}",
        )
    )


def _replacement(
    text: str, name: str, where: SourcePosition, proposal: Proposal
) -> tuple[int, int, str] | str:
    if where.file != name:
        return f"it stands in {where}, which other specs may share"
    found = _scalar(text, where, proposal.old)
    if found is None:
        return f"{where}: the bound is not written on one line"
    start, end, quote = found
    return start, end, f"{quote}{proposal.new}{quote}"


def _scalar(text: str, where: SourcePosition, written: str) -> tuple[int, int, str] | None:
    """(start, end, quote) of the scalar at a position, quotes included."""
    start = offset(text, where)
    quote = text[start : start + 1]
    if quote in ("'", '"'):
        end = start + len(written) + 2
        return (start, end, quote) if text[start:end] == f"{quote}{written}{quote}" else None
    end = start + len(written)
    return (start, end, '"') if text[start:end] == written else None


def _addition(text: str, name: str, proposal: Proposal) -> tuple[int, int, str] | str:
    tree, _ = read_bytes(text.encode(), name)
    # Metrics of the spec's own stand one mapping deeper: ``custom.f1`` is ``custom: {f1: ...}``.
    *within, metric = proposal.metric.split(".", 1)
    place = ("tolerances", proposal.tier.value, *within)
    mapping = _own(tree, place, name)
    if tree is None or not isinstance(mapping, Mapping) or not mapping.entries:
        return f"the file has no {'.'.join(place)} of its own to add it to"
    bound = json.dumps(proposal.new)
    demand = mapping.entries.get(metric)
    if demand is None:
        first = offset(text, next(iter(mapping.keys.values())))
        flow = text[offset(text, mapping.position)] == "{"
        indent = first - text.rfind("\n", 0, first) - 1
        rest = ", " if flow else "\n" + " " * indent
        key = json.dumps(metric) if name.endswith(".json") else metric
        return first, first, f"{key}: {bound}{rest}"
    if isinstance(demand, Items) and text[offset(text, demand.position)] == "[" and demand.items:
        first = offset(text, demand.items[0].position)
        return first, first, f"{bound}, "
    if isinstance(demand, Scalar) and isinstance(demand.value, str):
        found = _scalar(text, demand.position, demand.value)
        if found is not None:
            start, end, _ = found
            return start, end, f"[{text[start:end]}, {bound}]"
    return f"{'.'.join((*place, metric))} is written in a form that is not edited here"


def _own(tree: Node | None, path: tuple[str, ...], name: str) -> Node | None:
    node = tree
    for key in path:
        node = child(node, key) if node is not None else None
    return node if node is not None and node.position.file == name else None


def offset(text: str, where: SourcePosition) -> int:
    """Index of a position in the text; lines end as the readers count them."""
    start = 0
    for _ in range(where.line - 1):
        start = text.index("\n", start) + 1
    return start + where.column - 1
