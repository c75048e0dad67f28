"""``stand_in``: what a spec runs where its own model, with the weights it names, is not to be had.

A spec with a stand-in is two specs in one file. They share what the stand-in does not replace, have ids
and model ids of their own (``ID`` and ``ID.stand-in``), and so never share a case or a baseline. Which
of them a machine runs is decided from names alone: by ``requires`` and by the file of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath

from gate.core.spec import Spec, StandIn
from gate.spec.build import spec_id
from gate.spec.diagnostics import Diagnostic
from gate.spec.extends import merge
from gate.spec.nodes import Mapping, Node, Path, Scalar, Sequence, at, child
from gate.spec.skips import missing_requirements

KEY = "stand_in"
SUFFIX = ".stand-in"
"""Of the ids of the spec and of its model."""

_WHOLE: tuple[Path, ...] = (
    ("model", "reference"),
    ("model", "inputs"),
    ("data", "preprocess"),
    ("data", "calibration"),
    ("data", "evaluation"),
)
"""Replaced as a whole: options of one source say nothing about another's."""
_OWN = frozenset({KEY, "requires", "id"})
"""What the stand-in does not take over from the spec."""


def stood_in(root: Mapping, name: str) -> Mapping | None:
    """The document with its stand-in laid over it; None where it declares none that can be read."""
    over = child(root, KEY)
    if not isinstance(over, Mapping):
        return None
    kept = Mapping(
        {key: node for key, node in root.entries.items() if key not in _OWN},
        {key: place for key, place in root.keys.items() if key not in _OWN},
        root.position,
    )
    for path in _WHOLE:
        if at_end(over, path) is not None:
            kept = _without(kept, path)
    laid = merge(kept, _without(over, ("because",)))
    if not isinstance(laid, Mapping):  # mappings merge into one
        return None
    laid = _with(laid, ("id",), f"{spec_id(root, name)}{SUFFIX}")
    own_id = at_end(over, ("model", "id"))
    named = at_end(root, ("model", "id"))
    if own_id is None and isinstance(named, Scalar) and isinstance(named.value, str):
        laid = _with(laid, ("model", "id"), f"{named.value}{SUFFIX}")
    return laid


def attributed(found: list[Diagnostic], root: Mapping) -> Iterator[Diagnostic]:
    """Mistakes of the stand-in, under the path at which they are written."""
    over = child(root, KEY)
    inside = set(_places(over)) if over is not None else set()
    for diagnostic in found:
        if diagnostic.position in inside:
            path = f"{KEY}.{diagnostic.path}" if diagnostic.path else KEY
            yield replace(diagnostic, path=path)
        else:
            hint = f"{diagnostic.hint}; in the stand-in" if diagnostic.hint else "in the stand-in"
            yield replace(diagnostic, hint=hint)


def chosen(named: Spec, other: Spec, root: Mapping, *, allowed: bool = True) -> Spec:
    """The spec that runs here: the one of the named model, else its stand-in, which says why.

    Where no stand-in is ``allowed``, it is the named one, whose cases are skipped for what is absent.
    """
    absent = "; ".join(_absent(named, root))
    if absent and allowed:
        return marked(other, root, ran=True, absent=absent)
    return marked(named, root, ran=False, absent=absent)


def marked(spec: Spec, root: Mapping, *, ran: bool, absent: str = "") -> Spec:
    """``spec`` saying which of the two it is: ``ran`` for the stand-in."""
    because = at_end(root, (KEY, "because"))
    text = str(because.value) if isinstance(because, Scalar) else ""
    return replace(spec, stand_in=StandIn(ran=ran, because=text, absent=absent))


def _absent(named: Spec, root: Mapping) -> Iterator[str]:
    """What the named model lacks on this machine, without paths of the machine."""
    missing = list(missing_requirements(named.requires))
    yield from missing
    weights = named.model.options.get("weights")
    places = (
        (weights.get("path") if isinstance(weights, dict) else None, ("weights", "path")),
        (named.model.options.get("path"), ("path",)),
    )
    for path, where in places:
        if missing or not isinstance(path, str) or FilePath(path).is_file():
            continue
        written = at_end(root, ("model", "reference", *where))
        yield f"there is no file {written.value if isinstance(written, Scalar) else path}"


def at_end(node: Node, path: Path) -> Node | None:
    """The node under ``path``; None where it is not there."""
    parent = at(node, path[:-1]) if len(path) > 1 else node
    if len(path) > 1 and at_end(node, path[:-1]) is not parent:
        return None
    return child(parent, str(path[-1]))


def _without(node: Mapping, path: Path) -> Mapping:
    key, *rest = (str(step) for step in path)
    entries, keys = dict(node.entries), dict(node.keys)
    below = entries.get(key)
    if not rest:
        entries.pop(key, None)
        keys.pop(key, None)
    elif isinstance(below, Mapping):
        entries[key] = _without(below, tuple(rest))
    return Mapping(entries, keys, node.position)


def _with(node: Mapping, path: Path, value: str) -> Mapping:
    key, *rest = (str(step) for step in path)
    below = node.entries.get(key)
    if rest:
        if not isinstance(below, Mapping):
            return node
        made: Node = _with(below, tuple(rest), value)
    else:
        made = Scalar(value, below.position if below is not None else node.position)
    keys = {**node.keys, key: node.keys.get(key, node.position)}
    return Mapping({**node.entries, key: made}, keys, node.position)


def _places(node: Node) -> Iterator[object]:
    yield node.position
    if isinstance(node, Mapping):
        yield from node.keys.values()
        for below in node.entries.values():
            yield from _places(below)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _places(item)
