"""The part of the JSON Schema that says what is demanded: tolerances, probes and overrides."""

from __future__ import annotations

from gate.core.findings import FINDINGS
from gate.core.probes import PROBE_METRICS, PROBES
from gate.core.status import Tier
from gate.core.tolerance import Mode
from gate.metrics.catalogue import BY_NAME, CATALOGUE, MetricInfo
from gate.spec.grammar import NUMBER, example
from gate.spec.probes import probes_mapping_schema
from gate.spec.schema_words import Schema, closed, glob, ref, text
from gate.spec.tasks import CUSTOM_KEY, custom_bounds
from gate.spec.units import FACTORS, OFFSET_UNITS


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
    """``tolerance-UNIT`` for every unit: a bound, a bound for some subjects, or a list of them; and
    ``tolerance-UNIT-mode`` where a metric in it can be certified."""
    definitions: dict[str, Schema] = {}
    certifiable = {info.unit for info in CATALOGUE if info.has_interval}
    for unit in FACTORS | {"bool": {}}:
        name = _unit_name(unit)
        definitions[f"bound-{name}"] = _bound(unit)
        definitions[f"tolerance-{name}"] = _tolerance(name, {})
        if unit in certifiable:
            definitions[f"tolerance-{name}-mode"] = _tolerance(name, _MODE)
    return definitions


def _tolerance(name: str, beside: Schema) -> Schema:
    for_some = closed(
        "a bound for some outputs or layers only",
        {
            "bound": ref(f"bound-{name}"),
            "subjects": text("glob over output or layer names", examples=["features.*"]),
            **beside,
        },
        required=("bound",),
    )
    one = [ref(f"bound-{name}"), for_some]
    several = {"type": "array", "minItems": 1, "items": {"anyOf": one}}
    return {"anyOf": [*one, several]}


def _metric(info: MetricInfo) -> Schema:
    unit = f", in {info.unit}" if info.unit not in ("", "bool") else ""
    return {
        "description": f"{info.formula}{unit}; {info.direction} is better",
        **ref(f"tolerance-{_unit_name(info.unit)}{'-mode' if info.has_interval else ''}"),
    }


def tiers() -> dict[str, Schema]:
    """Tier -> schema of the bounds on its metrics."""
    words = {
        Tier.NUMERICAL: "does it still compute the same function",
        Tier.LAYERS: "is it still built the same way",
        Tier.DEVICE: "does it still do its job on the target",
    }
    return {
        tier.value: closed(
            words[tier],
            {
                **{info.name: _metric(info) for info in CATALOGUE if info.tier is tier},
                **({CUSTOM_KEY: custom_bounds()} if tier is Tier.DEVICE else {}),
            },
        )
        for tier in Tier
    }


def probe_metrics() -> dict[str, Schema]:
    """Metric -> schema of a probe's bound on it."""
    return {name: _metric(BY_NAME[Tier.NUMERICAL, name]) for name in PROBE_METRICS}


def override() -> Schema:
    """Schema of one override."""
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
                {"quantization": glob("quantizations"), "target": glob("targets")},
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
                "replace those of the same metric and subjects, or add to them", tiers()
            ),
            "drop": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"enum": dropped},
                "description": "metrics, findings and probes that are not demanded of these cases",
            },
            "probes": probes_mapping_schema(probe_metrics()),
            "because": text("the reason, shown in reports"),
        },
        required=("when", "because"),
        dependentRequired={"metrics": ["expect"]},
    )
