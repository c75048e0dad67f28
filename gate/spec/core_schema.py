"""The part of the JSON Schema that no plugin decides, as data."""

from __future__ import annotations

from gate.core.environment import NARROWING, WIDENING
from gate.spec.grammar import NUMBER
from gate.spec.probes import probes_schema
from gate.spec.schema_tolerances import override, probe_metrics, tiers
from gate.spec.schema_words import Schema, closed, count, glob, named, ref, text, texts
from gate.spec.tasks import TASKS, decoding_choice, metrics_schema
from gate.spec.units import FACTORS, SECONDS

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


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
            "decoding": {
                "type": "object",
                "description": "how the outputs become answers; its keys are the task's",
            },
        },
        required=("id", "task", "reference", "inputs"),
        allOf=decoding_choice(),
    )


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
        {"quantization": glob("quantizations"), "target": glob("targets")},
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


def _stand_in() -> Schema:
    """Sections are checked once they are laid over the spec's own, by the same rules."""
    sections = {
        "requires": "what the stand-in needs; none of the spec's own needs are taken over",
        "model": "reference and inputs replace the spec's own as a whole",
        "data": "preprocess, calibration and evaluation each replace the spec's own as a whole",
        "quantizations": "laid over the spec's own, name by name",
        "targets": "laid over the spec's own, name by name",
        "matrix": "replaces what it names",
        "run": "laid over the spec's own",
        "probes": "laid over the spec's own",
        "tolerances": "laid over the spec's own, metric by metric",
    }
    return closed(
        "what runs in place of the model where what it requires, or the file of its weights, is absent:"
        " a spec of its own (id ID.stand-in) with baselines of its own",
        {
            "because": text("why there is a stand-in, for people"),
            **{
                name: {"type": "object", "description": description}
                for name, description in sections.items()
            },
        },
        required=("because", "model"),
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
                    "packages": texts("importable top-level modules"),
                    "env": texts("environment variables that must be set"),
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
            "stand_in": _stand_in(),
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
            "probes": probes_schema(probe_metrics()),
            "metrics": metrics_schema(),
            "tolerances": closed(
                "what is demanded",
                {
                    **tiers(),
                    "overrides": {
                        "type": "array",
                        "items": override(),
                        "description": "changes for some cases, the last one wins",
                    },
                },
                minProperties=1,
            ),
        },
        required=("version", "model", "data", "quantizations", "targets", "tolerances"),
    )
