"""Nodes under ``probes`` -> ``ProbeSpec`` values, and their part of the JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gate.core.probes import PROBE_METRICS, PROBES, ProbeSpec
from gate.core.status import Tier
from gate.core.tolerance import Anchor, SourcePosition, Tolerance
from gate.metrics.catalogue import BY_NAME
from gate.spec import nodes
from gate.spec.diagnostics import Diagnostic
from gate.spec.grammar import parse_bound
from gate.spec.nodes import Node, Path, Scalar, dotted, plain
from gate.spec.tolerances import TolerancesReader

Schema = dict[str, Any]
_NAMES = {"enum": list(PROBES)}


def probes_schema(metric: Mapping[str, Schema]) -> Schema:
    """Schema of ``probes``; ``metric`` gives that of a bound on each of ``PROBE_METRICS``."""
    listed = {
        "type": "array",
        "title": "a list of probes",
        "minItems": 1,
        "uniqueItems": True,
        "items": _NAMES,
    }
    described = ", ".join(f"{info.name} ({info.summary})" for info in PROBES.values())
    return {
        "description": f"hostile probes of the numerical tier: {described}",
        "anyOf": [listed, probes_mapping_schema(metric)],
    }


def probes_mapping_schema(metric: Mapping[str, Schema]) -> Schema:
    """Schema of the form that gives probes bounds of their own."""
    bounds = {
        "type": "object",
        "title": "a mapping from metrics to bounds",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": dict(metric),
    }
    return {
        "type": "object",
        "title": "a mapping from probes to their bounds",
        "description": "probe -> its bounds, or true for the usual ones",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            info.name: {
                "description": f"{info.summary}; usual: {_usual(info.bounds)}",
                "anyOf": [{"const": True}, bounds],
            }
            for info in PROBES.values()
        },
    }


def _usual(bounds: Mapping[str, str]) -> str:
    return ", ".join(f"{metric} {bound}" for metric, bound in bounds.items())


class ProbesReader:
    """Reads ``probes``; names and keys that do not exist are the schema's matter."""

    def __init__(self) -> None:
        self._tolerances = TolerancesReader()
        self._found: list[Diagnostic] = []

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What is wrong."""
        return [*self._tolerances.diagnostics, *self._found]

    def read(self, node: Node | None, path: Path) -> tuple[ProbeSpec, ...]:
        """All probes of a list or mapping, in the order in which they run."""
        found: dict[str, ProbeSpec] = {}
        if isinstance(node, nodes.Sequence):
            for item in node.items:
                name = plain(item)
                if isinstance(name, str) and name in PROBES:
                    found[name] = _usual_probe(name, item.position)
        elif isinstance(node, nodes.Mapping):
            for name, below in node.entries.items():
                if name in PROBES:
                    found[name] = self._probe(name, below, (*path, name))
        return in_order(found.values())

    def _probe(self, name: str, node: Node, path: Path) -> ProbeSpec:
        if isinstance(node, Scalar):
            return _usual_probe(name, node.position)
        bounds: list[Tolerance] = []
        written = node.entries if isinstance(node, nodes.Mapping) else {}
        for metric, demand in written.items():
            if metric in PROBE_METRICS:
                bounds += self._bounds(metric, demand, (*path, metric))
        return ProbeSpec(name=name, bounds=tuple(bounds))

    def _bounds(self, metric: str, node: Node, path: Path) -> Iterable[Tolerance]:
        for tolerance in self._tolerances.metric(node, BY_NAME[Tier.NUMERICAL, metric], path):
            if tolerance.anchor is Anchor.ABSOLUTE:
                yield tolerance
                continue
            self._found.append(
                Diagnostic(
                    position=tolerance.where or node.position,
                    path=dotted(path),
                    message="a probe is bounded by a number: baselines do not keep its measurements",
                    hint=f"for example '{_example(metric)}'",
                )
            )


def in_order(probes: Iterable[ProbeSpec]) -> tuple[ProbeSpec, ...]:
    """Probes in the order in which they run."""
    place = {name: index for index, name in enumerate(PROBES)}
    return tuple(sorted(probes, key=lambda probe: place[probe.name]))


def _usual_probe(name: str, where: SourcePosition) -> ProbeSpec:
    bounds = []
    for metric, text in PROBES[name].bounds.items():
        parsed = parse_bound(text, BY_NAME[Tier.NUMERICAL, metric])
        bounds.append(
            Tolerance(
                tier=Tier.NUMERICAL,
                metric=metric,
                op=parsed.op,
                anchor=parsed.anchor,
                value=parsed.value,
                text=text,
                where=where,
            )
        )
    return ProbeSpec(name=name, bounds=tuple(bounds))


def _example(metric: str) -> str:
    return {"sqnr": ">= 15 dB"}.get(metric, "< 0.1")
