"""One case as the page shows it: everything computed and worded here, only laid out by the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from gate.core.baseline import Baseline
from gate.core.canonical import JsonValue
from gate.core.flips import Flips
from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.measure import Measured, measure
from gate.judge.wording import count
from gate.report.explain import Topic, explain
from gate.report.format import quantity, seconds
from gate.report.html_report.answers import Answers, answers
from gate.report.html_report.changes import Changes, changes
from gate.report.html_report.choice_view import ChoiceView, choice_view
from gate.report.html_report.latency import Latency, latency
from gate.report.html_report.layer_facts import LayerFact, layer_facts
from gate.report.html_report.overview import find_text, key_of
from gate.report.html_report.profile import Profile, profile
from gate.report.html_report.rules import TierRules, tier_rules
from gate.report.outcome import Outcome, outcome
from gate.report.text import one_line, tail

_OUTPUT_LINES = 60


class Level(IntEnum):
    """How much of a case is shown; what a large report leaves out, it leaves out in this order."""

    ROW = 0
    """Its row of the overview alone."""
    CHECKS = 1
    """Checks, explanation, environment; no layer by layer view."""
    LAYERS = 2
    """Everything but pictures of inputs."""
    FULL = 3


_LEFT_OUT = {
    Level.CHECKS: "Layer by layer view, latencies, changes and what was tried are left out to keep this page small.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """What the template needs for one case."""

    anchor: str
    id: str
    spec: str
    outcome: Outcome
    level: Level
    lines: tuple[tuple[str, str], ...]
    """(topic, sentence)."""
    output: str
    """What a worker that failed printed last."""
    tiers: tuple[TierRules, ...]
    choice: ChoiceView | None
    layers: tuple[LayerFact, ...]
    layers_summary: str
    profile: Profile | None
    latency: Latency | None
    answers: Answers | None
    changes: Changes | None
    baseline_note: str
    facts: tuple[tuple[str, str], ...]
    """(what, value): environment, samples, artifacts."""
    versions: tuple[tuple[str, str, str], ...]
    """(package, now, in the baseline)."""
    stages: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    """(what it does, command)."""
    find: str
    """What the search looks through."""

    @property
    def outcome_key(self) -> str:
        """Name of the outcome in the style sheet."""
        return key_of(self.outcome)

    @property
    def left_out(self) -> str:
        """What a full page leaves out of this case; empty where nothing."""
        return _LEFT_OUT.get(self.level, "")

    def layer_data(self) -> list[dict[str, JsonValue]]:
        """Layers for the script that shows one at a time; empty parts are left out."""
        return [_layer_data(layer) for layer in self.layers] if self.profile is not None else []


def case_view(
    anchor: str,
    verdict: Verdict,
    result: CaseResult | None,
    *,
    baseline: Baseline | None,
    flips: Flips | None,
    level: Level,
) -> CaseView:
    """Gather what is known of one case."""
    seen = result.observation if result is not None else None
    measured = measure(seen) if seen is not None and level >= Level.LAYERS else None
    told = explain(verdict)
    layers: tuple[LayerFact, ...] = ()
    if seen is not None and measured is not None:
        layers = layer_facts(seen, verdict, measured, baseline)
    compared = seen is not None and baseline is not None and level >= Level.LAYERS
    return CaseView(
        anchor=anchor,
        id=one_line(verdict.case_id),
        spec=one_line(result.case.spec_path) if result is not None else "",
        outcome=outcome(verdict),
        level=level,
        lines=tuple(
            (line.topic.value, line.text)
            for line in told
            if line.topic not in (Topic.OUTPUT, Topic.NOTE)
        ),
        output="\n".join(tail(x.text, _OUTPUT_LINES) for x in told if x.topic is Topic.OUTPUT),
        tiers=tier_rules(verdict, baseline),
        choice=(
            choice_view(result.case, seen.choice)
            if result and seen and seen.choice and level >= Level.LAYERS
            else None
        ),
        layers=layers,
        layers_summary=_layers_summary(seen, measured),
        profile=profile(layers, verdict.first_bad_layer) if layers else None,
        latency=latency(seen, verdict) if seen and level >= Level.LAYERS else None,
        answers=answers(seen, flips, verdict.flips, pictures=level is Level.FULL) if seen else None,
        changes=(
            changes(result.case, seen, baseline)
            if compared and result and seen and baseline
            else None
        ),
        baseline_note=one_line(verdict.baseline_note),
        facts=_facts(result, seen),
        versions=_versions(seen, baseline),
        stages=tuple((name, seconds(s)) for name, s in seen.stage_seconds.items()) if seen else (),
        notes=tuple(map(one_line, (*verdict.notes, *(seen.notes if seen else ())))),
        commands=_commands(verdict, result),
        find=find_text(verdict),
    )


def _layers_summary(seen: Observation | None, measured: Measured | None) -> str:
    if seen is None or seen.layers is None or measured is None:
        return ""
    layers = seen.layers
    computing = [row for row in layers.candidate if row.computes]
    integer = sum(row.quantized for row in computing)
    parts = [
        f"{count(len(layers.candidate), 'layer')}",
        f"{integer} of {len(computing)} computing layers in integers",
        f"errors over {count(layers.samples, 'sample')}",
    ]
    if layers.unmatched_reference:
        parts.append(f"{count(len(layers.unmatched_reference), 'reference layer')} unmatched")
    if layers.unmatched_candidate:
        parts.append(f"{count(len(layers.unmatched_candidate), 'candidate layer')} unmatched")
    return "; ".join(parts)


def _facts(result: CaseResult | None, seen: Observation | None) -> tuple[tuple[str, str], ...]:
    if result is None:
        return ()
    case = result.case
    facts = [
        ("model", f"{case.model.id} ({case.model.source}, {case.model.task})"),
        ("quantization", f"{case.quantization.name} ({case.quantization.method})"),
        (
            "target",
            f"{case.target.name} ({case.target.backend}, {count(case.target.threads, 'thread')})",
        ),
    ]
    if seen is not None:
        here = seen.environment
        facts += [
            ("processor", here.cpu_model),
            ("machine", f"{here.system} {here.machine}; {', '.join(here.isa) or 'generic'}"),
            ("engine", f"{here.backend}/{here.engine}, {count(here.threads, 'thread')}"),
            ("samples", f"{seen.samples_evaluated} of {seen.samples_planned} evaluated"),
        ]
        if seen.conversion_relative_mse_percent is not None:
            error = quantity(seen.conversion_relative_mse_percent, "%")
            facts.append(("conversion error", f"{error} relative MSE"))
        if seen.resources is not None:
            cost = seen.resources
            sizes = [
                quantity(float(n), "B")
                for n in (cost.reference_size_bytes, cost.candidate_size_bytes)
            ]
            facts.append(("size", f"{sizes[0]} reference, {sizes[1]} candidate"))
            if cost.peak_memory_bytes > 0:
                facts.append(("peak memory", quantity(float(cost.peak_memory_bytes), "B")))
        facts += [(f"{name} SHA-256", digest) for name, digest in seen.artifacts.items()]
        facts += [("data digest", seen.data_digest), ("spec digest", seen.spec_digest)]
    return tuple((what, one_line(text)) for what, text in facts)


def _versions(
    seen: Observation | None, baseline: Baseline | None
) -> tuple[tuple[str, str, str], ...]:
    if seen is None:
        return ()
    now = seen.environment.versions
    then: Mapping[str, str] = baseline.environment.versions if baseline is not None else {}
    return tuple(
        (name, now.get(name, "absent"), then.get(name, "absent") if baseline is not None else "")
        for name in sorted({*now, *then})
    )


def _commands(verdict: Verdict, result: CaseResult | None) -> tuple[tuple[str, str], ...]:
    if result is None:
        return ()
    spec = shlex.quote(one_line(result.case.spec_path))
    select = shlex.quote(_literal(one_line(verdict.case_id)))
    seen = result.observation
    chosen = (("Put the recipe that was chosen into the spec", f"gate choose {spec} --write"),)
    update = f"gate baseline update {spec} --select {select} --reason '...'"
    accept = (("Accept what was measured", update),)
    return (
        ("Run this case again", f"gate run {spec} --select {select} -v"),
        *(chosen if seen is not None and seen.choice is not None else ()),
        *(accept if seen is not None else ()),
    )


def _literal(case_id: str) -> str:
    """A glob that matches this id alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in case_id)


def _layer_data(layer: LayerFact) -> dict[str, JsonValue]:
    shown = {
        "name": layer.name,
        "op": layer.op,
        "built in": layer.kind if layer.kind != "other" else "",
        "output": f"{layer.types} {layer.shapes}".strip(),
        "inputs": layer.inputs,
        "weights": layer.weight,
        "activation": layer.output,
        "size": layer.work,
        "stands for": layer.covers if layer.covers != layer.name else "",
        "SQNR": quantity(layer.sqnr, "dB") if layer.sqnr is not None else "",
        "alone": quantity(layer.isolated, "dB")
        if layer.isolated is not None
        else layer.why_not_isolated,
        "baseline": quantity(layer.baseline, "dB") if layer.baseline is not None else "",
        "bound": f">= {quantity(layer.bound, 'dB')}" if layer.bound is not None else "",
        "more": layer.other,
        "failed": ", ".join(layer.faults),
    }
    return {key: value for key, value in shown.items() if value}
