"""The option ``keep_float`` of every method that can leave layers in floating point.

Either a list of globs on names, or a mapping whose choices add up::

    keep_float: [head, "stem*"]
    keep_float: {names: [head], types: [LSTM], first: 1, last: 1, sensitivity: 3}

``first`` and ``last`` count the layers that hold weights, in order of execution and whether or not the
method would quantize them; ``sensitivity`` counts from the layer whose quantization alone costs most.
Pure: what the layers are and what they cost is handed in.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gate.core.canonical import JsonValue
from gate.quantize.base import QuantizeError

_SHOWN = 8
_GLOBS: JsonValue = {"type": "array", "items": {"type": "string", "minLength": 1}}


def keep_float_schema(*, names: str, types: str) -> dict[str, JsonValue]:
    """JSON Schema of the option.

    Args:
        names: what the globs match: ``module paths``, ``node names``.
        types: what a type is: ``classes of torch.nn``, ``ONNX operators``.
    """

    def count(description: str) -> JsonValue:
        return {"type": "integer", "minimum": 0, "default": 0, "description": description}

    return {
        "anyOf": [
            {**_GLOBS, "description": f"globs on {names}"},
            {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": {
                    "names": {**_GLOBS, "description": f"globs on {names}"},
                    "types": {**_GLOBS, "description": f"globs on {types}"},
                    "first": count("so many layers with weights from the input on"),
                    "last": count("so many layers with weights before the output"),
                    "sensitivity": count(
                        "so many layers whose quantization alone adds the most noise to the outputs"
                    ),
                },
            },
        ],
        "default": [],
        "description": f"what stays in floating point: globs on {names}, or a mapping of names, types, "
        "first, last and sensitivity, which add up",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One candidate for staying in float."""

    name: str
    kind: str
    """Class or operator."""
    weighted: bool = False
    """Holds a weight of two axes or more; such layers are given in order of execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFloat:
    """The option, read."""

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    sensitivity: int = 0

    def __bool__(self) -> bool:
        return bool(self.names or self.types or self.first or self.last or self.sensitivity)


def parse_keep_float(value: JsonValue) -> KeepFloat:
    """Read an option that the schema has checked."""
    if not isinstance(value, Mapping):
        return KeepFloat(names=tuple(value or ()))
    return KeepFloat(
        names=tuple(value.get("names", ())),
        types=tuple(value.get("types", ())),
        first=value.get("first", 0),
        last=value.get("last", 0),
        sensitivity=value.get("sensitivity", 0),
    )


def with_kept_names(value: JsonValue, names: Iterable[str]) -> JsonValue:
    """The option with more globs on names, in the form that it has."""
    if isinstance(value, Mapping):
        return {**value, "names": list(dict.fromkeys([*value.get("names", ()), *names]))}
    return list(dict.fromkeys([*(value or ()), *names]))


def told(value: JsonValue) -> str:
    """The option in a message; empty where nothing is kept."""
    keep = parse_keep_float(value)
    parts = [
        ", ".join(keep.names),
        f"types {', '.join(keep.types)}" if keep.types else "",
        f"the first {keep.first}" if keep.first else "",
        f"the last {keep.last}" if keep.last else "",
        f"the {keep.sensitivity} most sensitive" if keep.sensitivity else "",
    ]
    return "; ".join(part for part in parts if part)


def choose(
    keep: KeepFloat,
    layers: Sequence[Layer],
    *,
    noise: Callable[[Sequence[Layer]], Mapping[str, float]],
    what: str,
) -> list[str]:
    """Names of the layers that stay in float, in the order of ``layers``.

    Args:
        keep: the option.
        layers: all that can be named; those with weights in order of execution.
        noise: gives the noise power that each of some layers alone adds to the outputs, relative to
            the signal's; asked only where ``sensitivity`` is.
        what: ``module`` or ``node``, for messages.

    Raises:
        QuantizeError: a glob that selects nothing, or more layers than there are.
    """
    chosen: set[str] = set()
    for option, globs, key in (("names", keep.names, "name"), ("types", keep.types, "kind")):
        known = list(dict.fromkeys(getattr(layer, key) for layer in layers))
        for glob in globs:
            found = {ly.name for ly in layers if fnmatchcase(getattr(ly, key), glob)}
            if not found:
                raise QuantizeError(_matches_nothing(option, glob, known, what))
            chosen |= found
    weighted = [layer for layer in layers if layer.weighted]
    for option in ("first", "last", "sensitivity"):
        if getattr(keep, option) > len(weighted):
            raise QuantizeError(
                f"keep_float: {option}: {getattr(keep, option)} of {len(weighted)} layers with weights"
            )
    chosen |= {layer.name for layer in weighted[: keep.first]}
    chosen |= {layer.name for layer in weighted[len(weighted) - keep.last :]}
    if keep.sensitivity:
        power = noise(weighted)
        # Stable: of two that cost the same the earlier one.
        worst = sorted(weighted, key=lambda layer: -power.get(layer.name, 0.0))
        chosen |= {layer.name for layer in worst[: keep.sensitivity]}
    return [name for name in dict.fromkeys(layer.name for layer in layers) if name in chosen]


def _matches_nothing(option: str, glob: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(glob, known, n=1)
    if near:
        hint = f"did you mean '{near[0]}'?"
    else:
        more = " ..." if len(known) > _SHOWN else ""
        hint = f"there is {', '.join(known[:_SHOWN]) or 'none'}{more}"
    kind = what if option == "names" else f"type of {what}"
    return f"keep_float: '{glob}' matches no {kind} of the model; {hint}"
