"""The part of the JSON Schema that no plugin decides, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gate.core.environment import NARROWING, WIDENING
from gate.core.findings import FINDINGS
from gate.core.probes import PROBE_METRICS, PROBES
from gate.core.status import Tier
from gate.core.tolerance import Mode
from gate.metrics.catalogue import BY_NAME, CATALOGUE, MetricInfo
from gate.spec.grammar import NUMBER, example
from gate.spec.probes import probes_mapping_schema, probes_schema
from gate.spec.units import FACTORS, OFFSET_UNITS, SECONDS

Schema = dict[str, Any]

TASKS = ("image-classification", "sequence-classification", "regression", "other")
DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def closed(
    description: str,
    properties: Mapping[str, Any],
    *,
    required: tuple[str, ...] = (),
    **more: Any,
) -> Schema:
    """Schema of an object that allows no other keys."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        "additionalProperties": False,
        **more,
    }


def ref(name: str) -> Schema:
    """Reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def named(description: str, item: Schema) -> Schema:
    """Schema of a non-empty mapping from names to ``item``."""
    return {
        "type": "object",
        "description": description,
        "minProperties": 1,
        "propertyNames": ref("name"),
        "additionalProperties": item,
    }


def text(description: str, **more: Any) -> Schema:
    """Schema of a string that is not empty."""
    return {"type": "string", "minLength": 1, "description": description, **more}


def count(description: str, minimum: int = 0, default: int | None = None) -> Schema:
    """Schema of a bounded integer."""
    schema = {
        "type": "integer",
        "minimum": minimum,
        "maximum": 2**31 - 1,
        "description": description,
    }
    return schema if default is None else {**schema, "default": default}


def _glob(of: str) -> Schema:
    return text(f"glob over the names of {of} (* ? [...])", default="*")


def _texts(description: str) -> Schema:
    return {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
        "description": description,
    }


def bound_pattern(unit: str) -> str:
    """Regular expression (ECMA 262) of a tolerance on a metric in ``unit``."""
    units = "|".join(FACTORS[unit])
    offsets = "|".join(dict.fromkeys([*OFFSET_UNITS[unit], "%"]))
    absolute = rf"{NUMBER}\s*(?:{units})"
    offset = rf"{NUMBER}\s*(?:{offsets})" if units else rf"{NUMBER}\s*%?"
    baseline = rf"baseline(?:\s*[-+]\s*{offset})?"
    reference = rf"{NUMBER}\s*x\s+reference"
    return rf"^\s*(?:<=|>=|==|<|>)\s*(?:{absolute}|{baseline}|{reference})\s*$"


def _bound(unit: str) -> Schema:
    if unit == "bool":
        return {"enum": [True, "true", "equal"], "description": "demanded of every subject"}
    of_unit = [info for info in CATALOGUE if info.unit == unit]
    examples = list(dict.fromkeys(example(info).strip("'") for info in of_unit))
    if unit in ("B", "ms"):
        examples += ["<= baseline + 5 %", "<= 0.5 x reference"]
    return {
        "type": "string",
        "pattern": bound_pattern(unit),
        "description": (
            "OP NUMBER UNIT, OP baseline +/- NUMBER UNIT, or OP NUMBER x reference; "
            f"unit: {' '.join(FACTORS[unit]) or 'none'}"
        ),
        "examples": examples,
    }


_MODE = {
    "mode": {
        "enum": [mode.value for mode in Mode],
        "default": Mode.AUTO.value,
        "description": (
            "exact: the drop on these samples; certify: the drop in general, by its interval; "
            "auto: certify where there are enough samples"
        ),
    }
}


def _unit_name(unit: str) -> str:
    return {"%": "percent", "": "number"}.get(unit, unit)


def tolerance_definitions() -> dict[str, Schema]:
    """``tolerance-UNIT`` for every unit: a bound, a bound for some subjects, or a list of them."""
    definitions: dict[str, Schema] = {}
    certifiable = {info.unit for info in CATALOGUE if info.has_interval}
    for unit in FACTORS | {"bool": {}}:
        name = _unit_name(unit)
        definitions[f"bound-{name}"] = _bound(unit)
        for_some = closed(
            "a bound for some outputs or layers only",
            {
                "bound": ref(f"bound-{name}"),
                "subjects": text("glob over output or layer names", examples=["features.*"]),
                **(_MODE if unit in certifiable else {}),
            },
            required=("bound",),
        )
        one = [ref(f"bound-{name}"), for_some]
        several = {"type": "array", "minItems": 1, "items": {"anyOf": one}}
        definitions[f"tolerance-{name}"] = {"anyOf": [*one, several]}
    return definitions


def _metric(info: MetricInfo) -> Schema:
    unit = f", in {info.unit}" if info.unit not in ("", "bool") else ""
    return {
        "description": f"{info.formula}{unit}; {info.direction} is better",
        **ref(f"tolerance-{_unit_name(info.unit)}"),
    }


def _tiers() -> dict[str, Schema]:
    words = {
        Tier.NUMERICAL: "does it still compute the same function",
        Tier.LAYERS: "is it still built the same way",
        Tier.DEVICE: "does it still do its job on the target",
    }
    return {
        tier.value: closed(
            words[tier], {info.name: _metric(info) for info in CATALOGUE if info.tier is tier}
        )
        for tier in Tier
    }


def _axis() -> Schema:
    size = {
        "type": ["integer", "string"],
        "title": "a whole number, a string",
        "minimum": 1,
        "minLength": 1,
    }
    ranged = closed(
        "a dynamic axis and the sizes that it may have, which probes go to the ends of",
        {
            "axis": text("its name"),
            "min": count("the smallest size", 1),
            "max": count("the largest size", 1),
        },
        required=("axis", "min", "max"),
        title="a mapping of axis, min and max",
    )
    return {"anyOf": [size, ranged]}


def _model(sources: Schema) -> Schema:
    axis = _axis()
    one_input = closed(
        "one input of the model",
        {
            "shape": {
                "type": "array",
                "minItems": 1,
                "items": axis,
                "description": (
                    "sizes; a name stands for a dynamic axis, {axis, min, max} for one that has "
                    "limits; the first is the batch"
                ),
                "examples": [["N", 3, 224, 224]],
            },
            "dtype": {"enum": list(DTYPES), "description": "element type"},
        },
        required=("shape", "dtype"),
    )
    return closed(
        "the reference: the floating-point model",
        {
            "id": {**ref("name"), "description": "name of the model"},
            "task": {"enum": list(TASKS), "description": "what its outputs mean"},
            "reference": sources,
            "inputs": named("the inputs of the model, by name", one_input),
        },
        required=("id", "task", "reference", "inputs"),
    )


def _probe_metrics() -> dict[str, Schema]:
    return {name: _metric(BY_NAME[Tier.NUMERICAL, name]) for name in PROBE_METRICS}


def _environment() -> Schema:
    def facts(description: str, names: tuple[str, ...]) -> Schema:
        return {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"enum": list(names)},
            "description": description,
        }

    return closed(
        "which machines share a baseline; without it, those of one system, machine and set of "
        "instructions for integers",
        {
            "narrow": facts(
                "what must agree as well: the processor's name, the number of threads, the version "
                "of the runtime, the versions of everything that takes part in the arithmetic",
                NARROWING,
            ),
            "widen": facts("what need not agree", WIDENING),
        },
        minProperties=1,
    )


def _override() -> Schema:
    probes = [f"probe.{name}" for name in PROBES]
    findings = [name.partition(".")[2] for name in FINDINGS]
    metrics = [*sorted({info.name for info in CATALOGUE}), *dict.fromkeys(findings), *probes]
    dropped = [f"{info.tier}.{info.name}" for info in CATALOGUE]
    dropped += [*FINDINGS, *(f"{Tier.NUMERICAL}.{probe}" for probe in probes)]
    return closed(
        "changes for some cases",
        {
            "when": closed(
                "which cases; what is not named is any",
                {"quantization": _glob("quantizations"), "target": _glob("targets")},
                minProperties=1,
            ),
            "expect": {"const": "fail", "description": "the cases are known to fail"},
            "metrics": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"enum": metrics},
                "description": (
                    "the metrics, findings or probes that are expected to fail; any metric where "
                    "not given"
                ),
            },
            "tolerances": closed(
                "replace those of the same metric and subjects, or add to them", _tiers()
            ),
            "drop": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"enum": dropped},
                "description": "metrics, findings and probes that are not demanded of these cases",
            },
            "probes": probes_mapping_schema(_probe_metrics()),
            "because": text("the reason, shown in reports"),
        },
        required=("when", "because"),
        dependentRequired={"metrics": ["expect"]},
    )


def _run() -> Schema:
    def quantity(units: dict[str, float], title: str, description: str, default: str) -> Schema:
        return {
            "type": "string",
            "title": title,
            "pattern": rf"^\s*{NUMBER}\s*(?:{'|'.join(units)})\s*$",
            "description": description,
            "default": default,
            "examples": [default],
        }

    return closed(
        "how cases are run; none of it changes what a correct model answers",
        {
            "batch": count("evaluation samples a forward pass", 1, 32),
            "layer_samples": count("evaluation samples that the layers tier looks at", 1, 16),
            "timing": closed(
                "how latency is measured",
                {
                    "batch": count("samples a timed run", 1, 1),
                    "warmup": count("runs before the first timed one", 0, 20),
                    "rounds": count(
                        "rounds a process; each runs every model twice, interleaved", 1, 60
                    ),
                    "processes": count("fresh processes at most; fewer where fewer decide", 1, 8),
                },
            ),
            "timeout": quantity(SECONDS, "a time", "wall time that a case may take", "900 s"),
            "memory": quantity(FACTORS["B"], "a size", "memory that a case may take", "8 GiB"),
            "seed": count("seed of everything random in a case", 0, 0),
        },
    )


def _matrix() -> Schema:
    pair = closed(
        "a pair of globs",
        {"quantization": _glob("quantizations"), "target": _glob("targets")},
        minProperties=1,
    )
    pairs = {"type": "array", "minItems": 1, "items": pair}
    return closed(
        "which pairs of quantization and target are cases; all where not given",
        {
            "include": {**pairs, "description": "only these"},
            "exclude": {**pairs, "description": "but not these"},
        },
        minProperties=1,
    )


def core(
    *, sources: Schema, data: Schema, quantizers: Schema, backends: Schema, preprocess: Schema
) -> Schema:
    """The properties of a spec, around the plugins' own parts."""
    return closed(
        "a spec of the quantization gate, version 1",
        {
            "$schema": text("where an editor finds this schema"),
            "version": {"const": 1, "description": "version of the spec language"},
            "id": {**ref("name"), "description": "name of the spec; the file's stem if not given"},
            "extends": {
                "type": ["string", "array"],
                "minLength": 1,
                "items": {"type": "string", "minLength": 1},
                "description": "files that this one is merged over, relative to it",
            },
            "requires": closed(
                "what the spec needs beyond the base installation; where absent, cases are SKIPPED",
                {
                    "packages": _texts("importable top-level modules"),
                    "env": _texts("environment variables that must be set"),
                    "install": text("how to get them"),
                },
            ),
            "model": _model(sources),
            "data": closed(
                "samples",
                {
                    "preprocess": preprocess,
                    "evaluation": data,
                    "calibration": data,
                    "overlap": {
                        "type": "boolean",
                        "default": False,
                        "description": "calibration samples may also be evaluated",
                    },
                },
                required=("evaluation",),
            ),
            "quantizations": named("the ways to make a candidate, by name", quantizers),
            "targets": named("where a candidate runs, by name", backends),
            "matrix": _matrix(),
            "run": _run(),
            "baseline": {
                "enum": ["require", "record", "ignore"],
                "default": "require",
                "description": (
                    "require: none is a FAIL; record: none is written and said so; "
                    "ignore: never looked at"
                ),
            },
            "on_improvement": {
                "enum": ["fail", "note"],
                "default": "fail",
                "description": (
                    "what a metric that is better than the baseline by more than its band comes "
                    "to: the baseline is stale, or something is measured wrongly"
                ),
            },
            "environment": _environment(),
            "probes": probes_schema(_probe_metrics()),
            "tolerances": closed(
                "what is demanded",
                {
                    **_tiers(),
                    "overrides": {
                        "type": "array",
                        "items": _override(),
                        "description": "changes for some cases, the last one wins",
                    },
                },
                minProperties=1,
            ),
        },
        required=("version", "model", "data", "quantizations", "targets", "tolerances"),
    )
