"""The text of a first spec: commented, complete, made to be edited."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gate.core.spec import InputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One tolerance of one quantization, and what it was taken from."""

    tier: str
    metric: str
    text: str
    measured: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to quantize, with the bounds that its healthy repeats suggest."""

    name: str
    options: Mapping[str, object]
    bounds: Sequence[Bound] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSpec:
    """Everything that goes into the file; values are those of the spec format."""

    schema: str
    """Path of the JSON Schema, for editors; empty for none."""
    model_id: str
    task: str
    reference: Mapping[str, object]
    inputs: Mapping[str, InputSpec]
    preprocess: Mapping[str, object] = field(default_factory=dict)
    calibration: Mapping[str, object]
    evaluation: Mapping[str, object]
    data_note: str
    modes: Sequence[Mode]
    targets: Mapping[str, Mapping[str, object]]
    repeats: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Mode -> why it is not in the spec."""


def render(spec: FirstSpec) -> str:
    """Write the YAML text."""
    inputs = {
        name: {"shape": list(declared.shape), "dtype": declared.dtype}
        for name, declared in spec.inputs.items()
    }
    lines = [f"# yaml-language-server: $schema={spec.schema}"] if spec.schema else []
    lines += [
        "# A first spec, written by `gate init`: read it, tighten it, commit it with its baselines.",
        "version: 1",
        f"id: {_flow(spec.model_id)}",
        "model:",
        f"  id: {_flow(spec.model_id)}",
        f"  task: {spec.task}",
        f"  reference: {_flow(spec.reference)}",
        f"  inputs: {_flow(inputs)}",
        "data:",
        f"  # {spec.data_note}",
    ]
    if spec.preprocess:
        lines.append(f"  preprocess: {_flow(spec.preprocess)}")
    lines += [
        f"  calibration: {_flow(spec.calibration)}",
        f"  evaluation: {_flow(spec.evaluation)}",
        "quantizations:",
        *(f"  {mode.name}: {_flow(mode.options)}" for mode in spec.modes),
        *(f"  # left out: {name}: {why}" for name, why in spec.left_out.items()),
        "targets:",
        *(f"  {name}: {_flow(options)}" for name, options in spec.targets.items()),
        "baseline: record        # the first passing run writes them; then say: require",
        "tolerances:",
        "  numerical: {finite: true}",
        "  layers: {shapes: equal}",
        '  device: {size_ratio: "> 1 x", speedup: ">= 0.05 x"}   # smaller, and it does not stall',
    ]
    if any(mode.bounds for mode in spec.modes):
        lines.append("  overrides:")
    for mode in spec.modes:
        lines += _override(mode, spec.repeats)
    return "\n".join(lines) + "\n"


def _override(mode: Mode, repeats: int) -> list[str]:
    if not mode.bounds:
        return []
    runs = f"{repeats} healthy run{'' if repeats == 1 else 's'}"
    lines = [
        f"    - when: {{quantization: {mode.name}}}",
        f'      because: "measured in {runs}; tighten with `gate tune-tolerances`"',
        "      tolerances:",
    ]
    for tier in dict.fromkeys(bound.tier for bound in mode.bounds):
        lines.append(f"        {tier}:")
        lines += [
            f"          {bound.metric}: {_flow(bound.text)}  # measured: {bound.measured}"
            for bound in mode.bounds
            if bound.tier == tier
        ]
    return lines


def _flow(value: object) -> str:
    """One line of YAML in flow style; strings that could be read as something else are quoted."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.replace("-", "").replace("_", "").isalpha():
        return value if value.lower() not in _WORDS else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "n", "y", "nan", "inf"})
