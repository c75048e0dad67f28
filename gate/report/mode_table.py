"""What each way to quantize costs and gives, beside the floating-point model: ``gate run --table``.

One table a spec, one block of rows a target: first the reference as that target runs it, then a row a
case. Numbers are the judge's own; ratios are paired round by round and so are not the quotients of two
cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from gate.core.result import CaseResult
from gate.core.status import Tier
from gate.core.task import CUSTOM, DROP
from gate.core.verdict import Verdict
from gate.judge.measure import Key, Measured, measure
from gate.metrics.catalogue import BY_NAME
from gate.report.format import quantity
from gate.report.grid import grid
from gate.report.outcome import outcome, spaced
from gate.report.style import Style
from gate.report.text import markdown_cell, one_line

ACCURACY: tuple[tuple[str, str], ...] = (
    ("top1", "top1_drop"),
    ("map_50", "map_50_drop"),
    ("miou", "miou_drop"),
    ("roc_auc", "auc_drop"),
    ("eer", "eer_rise"),
    ("wer", "wer_rise"),
    ("perplexity", "perplexity_rise"),
    ("mae", "mae_rise"),
)
"""The metric that a task is known by, and what the candidate loses in it."""

_ASKED = {
    "top5": "top5",
    "map": "map",
    "pixel_accuracy": "pixel accuracy",
    "cer": "cer",
    "rmse": "rmse",
    "throughput": "throughput",
    "weight_bits": "bits a weight",
    "packed_size": "packed",
    "activation_memory": "activations",
}
"""Metric -> header of what is shown where a spec bounds it; its own metrics are too."""

_HEADERS = ("mode", "accuracy", "drop", "latency", "speed-up", "size", "ratio", "memory", "result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line; None where the run did not observe it."""

    mode: str
    target: str
    accuracy: str | None = None
    """Metric that ``accuracy`` is in."""
    values: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Header -> value and its unit."""
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeTable:
    """All rows of one spec, by target."""

    spec: str
    model: str
    """What ran: the model, and which of the two where there is a stand-in."""
    asked: tuple[str, ...]
    """Further headers: what the spec bounds beside the usual."""
    rows: tuple[Row, ...]


def tables(verdicts: Sequence[Verdict], results: Sequence[CaseResult]) -> list[ModeTable]:
    """One table a spec, in the order of the plan."""
    words = {verdict.case_id: spaced(outcome(verdict)) for verdict in verdicts}
    by_spec: dict[str, list[CaseResult]] = {}
    for result in results:
        by_spec.setdefault(result.case.spec_id, []).append(result)
    return [_table(spec, found, words) for spec, found in by_spec.items()]


def render(
    verdicts: Sequence[Verdict], results: Sequence[CaseResult], *, style: Style | None = None
) -> str:
    """Plain text for a terminal."""
    style = style or Style()
    blocks = []
    for table in tables(verdicts, results):
        body = [
            [
                f"{row.mode} @ {row.target}",
                *_cells(row, table),
                style.paint(row.result, row.result.replace(" ", "_")),
            ]
            for row in table.rows
        ]
        text = grid(_headers(table), body, right=range(1, len(_headers(table)) - 1))
        blocks.append(f"{one_line(table.spec)}: {one_line(table.model)}\n{text}")
    return "\n\n".join(blocks)


def markdown(verdicts: Sequence[Verdict], results: Sequence[CaseResult]) -> str:
    """The same tables in Markdown."""
    lines: list[str] = []
    for table in tables(verdicts, results):
        headers = _headers(table)
        lines += [f"### {markdown_cell(table.spec)}", "", f"{markdown_cell(table.model)}", ""]
        lines.append(f"| {' | '.join(headers)} |")
        lines.append(f"|---|{'--:|' * (len(headers) - 2)}---|")
        for row in table.rows:
            cells = [markdown_cell(f"{row.mode} @ {row.target}"), *_cells(row, table), row.result]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _headers(table: ModeTable) -> list[str]:
    """With the name of the accuracy that the task has."""
    metric = next((row.accuracy for row in table.rows if row.accuracy), None)
    return [_HEADERS[0], metric or _HEADERS[1], *_HEADERS[2:-1], *table.asked, _HEADERS[-1]]


def _cells(row: Row, table: ModeTable) -> list[str]:
    wanted = (*_HEADERS[1:-1], *table.asked)
    return [quantity(*row.values[name]) if name in row.values else "-" for name in wanted]


def _table(spec: str, results: Sequence[CaseResult], words: Mapping[str, str]) -> ModeTable:
    case = results[0].case
    model = f"{case.model.id}, {case.model.task}"
    if case.stand_in is not None:
        model += ", the declared stand-in" if case.stand_in.ran else ", the model that is named"
    by_target: dict[str, list[CaseResult]] = {}
    for result in results:
        by_target.setdefault(result.case.target.name, []).append(result)
    asked = _asked(results)
    rows: list[Row] = []
    for found in by_target.values():
        seen = [(r, measure(r.observation) if r.observation is not None else None) for r in found]
        rows += _reference([m for _, m in seen if m is not None], found, asked)
        rows += [
            replace(_candidate(result, measured, asked), result=words.get(result.case.id, ""))
            for result, measured in seen
        ]
    shown = [header for header in asked.values() if any(header in row.values for row in rows)]
    return ModeTable(spec=spec, model=model, asked=tuple(shown), rows=tuple(rows))


def _asked(results: Sequence[CaseResult]) -> dict[Key, str]:
    """Metric -> header of what a spec bounds beside what every table shows."""
    bounded = {(t.tier, t.metric) for result in results for t in result.case.tolerances}
    own = sorted(key for key in bounded if key[1].startswith(CUSTOM) and not key[1].endswith(DROP))
    known = (key for name in _ASKED for key in bounded if key[1] == name)
    return {key: _ASKED.get(key[1], key[1].removeprefix(CUSTOM)) for key in (*known, *own)}


def _value(measured: Measured, metric: str, tier: Tier = Tier.DEVICE) -> tuple[float, str] | None:
    found = next(iter(measured.of(tier, metric)), None)
    return None if found is None or found.value is None else (found.value, found.unit)


def _metric(measured: Measured) -> tuple[str, str] | None:
    """The metric of the task, and its loss."""
    return next((pair for pair in ACCURACY if _value(measured, pair[0]) is not None), None)


def _candidate(result: CaseResult, measured: Measured | None, asked: Mapping[Key, str]) -> Row:
    row = Row(mode=_mode(result), target=result.case.target.name)
    if measured is None:
        return row
    pairs = (
        ("latency", "latency_p50"),
        ("speed-up", "speedup"),
        ("size", "size"),
        ("ratio", "size_ratio"),
        ("memory", "peak_memory"),
    )
    values = {name: v for name, m in pairs if (v := _value(measured, m)) is not None}
    task = _metric(measured)
    for name, metric in zip(("accuracy", "drop"), task or (), strict=False):
        if (value := _value(measured, metric)) is not None:
            values[name] = value
    for (tier, metric), header in asked.items():
        if (value := _value(measured, metric, tier)) is not None:
            values[header] = value
    return replace(row, values=values, accuracy=task[0] if task else None)


def _mode(result: CaseResult) -> str:
    """The name in the spec, with what a ladder or a search came to."""
    name = result.case.quantization.name
    choice = result.observation.choice if result.observation is not None else None
    if choice is None:
        return name
    kept = len(choice.taken.kept)
    told = choice.taken.name if choice.how == "ladder" else f"{kept or 'none'} in float"
    return f"{name} ({one_line(told)})"


def _reference(
    measured: Sequence[Measured], results: Sequence[CaseResult], asked: Mapping[Key, str]
) -> list[Row]:
    """The floating-point model as this target runs it: its median over the cases, each of which has
    run it beside its candidate; no row where none has."""
    if not measured:
        return []

    def known(metric: str, tier: Tier = Tier.DEVICE) -> float | None:
        values = [v for m in measured if (v := m.reference.get((tier, metric))) is not None]
        return median(values) if values else None

    values: dict[str, tuple[float, str]] = {}
    for name, metric, unit in (("latency", "latency_p50", "ms"), ("size", "size", "B")):
        if (value := known(metric)) is not None:
            values[name] = (value, unit)
    memory = [
        float(size)
        for r in results
        if r.observation is not None
        and r.observation.resources is not None
        and (size := r.observation.resources.reference_peak_memory_bytes) is not None
    ]
    if memory:
        values["memory"] = (median(memory), "B")
    task = next((found for m in measured if (found := _metric(m)) is not None), None)
    if task is not None and (value := known(task[0])) is not None:
        values["accuracy"] = (value, BY_NAME[Tier.DEVICE, task[0]].unit)
    for (tier, metric), header in asked.items():
        if (value := known(metric, tier)) is not None:
            values[header] = (value, next(m.unit for one in measured for m in one.of(tier, metric)))
    target = results[0].case.target.name
    return [
        Row(
            mode="float32",
            target=target,
            values=values,
            accuracy=task[0] if task else None,
            result="reference",
        )
    ]
