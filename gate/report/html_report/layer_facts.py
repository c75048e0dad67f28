"""What the report says of each layer: how it is built, and its errors now and in the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gate.core.baseline import Baseline
from gate.core.layer import LayerMatch, LayerRow, QParams, TensorInfo
from gate.core.observation import Observation
from gate.core.status import Status, Tier
from gate.core.tolerance import Op
from gate.core.verdict import Verdict
from gate.judge.layers import execution_order
from gate.judge.measure import Measured
from gate.judge.wording import count
from gate.metrics import elementwise
from gate.report.format import quantity
from gate.report.text import one_line

_KEY = (Tier.LAYERS, "sqnr")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFact:
    """One layer, in order of execution."""

    name: str
    op: str
    kind: str
    """``integer``, ``float`` (arithmetic left in floating point), ``other`` (none) or ``missing``."""
    types: str
    shapes: str
    inputs: str
    weight: str
    output: str
    work: str
    """Parameters and multiply-accumulates."""
    covers: str
    sqnr: float | None
    """Cumulative: where the layer runs, on the candidate's own inputs; dB."""
    isolated: float | None
    """On the reference's inputs, the layer alone; dB."""
    why_not_isolated: str
    baseline: float | None
    """Cumulative, when the baseline was accepted; dB."""
    bound: float | None
    """Highest lower bound that the spec puts on ``sqnr``; dB."""
    failed: bool
    """Whether any check of this layer failed."""
    faults: tuple[str, ...]
    """Rules that failed."""
    other: str
    """Further error metrics, as text."""


def layer_facts(
    seen: Observation, verdict: Verdict, measured: Measured, baseline: Baseline | None
) -> tuple[LayerFact, ...]:
    """Facts of every layer of the candidate, and of computing reference layers that it lacks."""
    layers = seen.layers
    if layers is None:
        return ()
    rows = {row.name: row for row in layers.candidate}
    reference = {row.name: row for row in layers.reference}
    matches = {match.candidate: match for match in layers.matches}
    bounds, faults = _judged(verdict)
    then = _accepted(baseline)
    values = {m.subject: m.value for m in measured.of(*_KEY)}
    return tuple(
        _fact(
            name,
            row=rows.get(name) or reference.get(name),
            missing=name not in rows,
            match=matches.get(name),
            sqnr=values.get(name),
            baseline=then.get(name),
            bound=bounds.get(name),
            faults=tuple(faults.get(name, ())),
            other=_other(measured, name),
        )
        for name in execution_order(layers)
    )


def _fact(
    name: str,
    *,
    row: LayerRow | None,
    missing: bool,
    match: LayerMatch | None,
    sqnr: float | None,
    baseline: float | None,
    bound: float | None,
    faults: tuple[str, ...],
    other: str,
) -> LayerFact:
    isolated = match.isolated if match is not None else None
    return LayerFact(
        name=one_line(name),
        op=one_line(row.op) if row is not None else "",
        kind=_kind(row, missing=missing),
        types=", ".join(dict.fromkeys(t.dtype for t in row.outputs)) if row is not None else "",
        shapes=_shapes(row.outputs) if row is not None else "",
        inputs=_tensors(row.inputs) if row is not None else "",
        weight=_qparams(row.weight) if row is not None else "",
        output=_qparams(row.output) if row is not None else "",
        work=_work(row) if row is not None else "",
        covers=", ".join(one_line(part) for part in match.reference) if match is not None else "",
        sqnr=sqnr,
        isolated=elementwise.sqnr_db(isolated) if isolated is not None else None,
        why_not_isolated=one_line(match.why_not_isolated) if match is not None else "",
        baseline=baseline,
        bound=bound,
        failed=bool(faults),
        faults=faults,
        other=other,
    )


def _kind(row: LayerRow | None, *, missing: bool) -> str:
    if row is None or missing:
        return "missing"
    if row.quantized:
        return "integer"
    return "float" if row.computes else "other"


def _judged(verdict: Verdict) -> tuple[dict[str, float], dict[str, list[str]]]:
    """(layer -> highest lower bound on its SQNR, layer -> rules that failed)."""
    bounds: dict[str, float] = {}
    faults: dict[str, list[str]] = {}
    for check in verdict.checks:
        if check.tier is not Tier.LAYERS:
            continue
        if check.status in (Status.FAIL, Status.ERROR):
            faults.setdefault(check.subject, []).append(check.rule)
        lower = check.tolerance is not None and check.tolerance.op in (Op.GT, Op.GE)
        if check.rule == "sqnr" and lower and check.bound is not None:
            bounds[check.subject] = max(check.bound, bounds.get(check.subject, check.bound))
    return bounds, {name: list(dict.fromkeys(rules)) for name, rules in faults.items()}


def _accepted(baseline: Baseline | None) -> Mapping[str, float]:
    if baseline is None:
        return {}
    return {v.subject: v.value for v in baseline.values if (v.tier, v.metric) == _KEY}


def _other(measured: Measured, name: str) -> str:
    parts = [
        f"{metric.replace('_', ' ')} {quantity(m.value, m.unit)}"
        for metric in ("worst_channel_nmse", "bias")
        for m in measured.of(Tier.LAYERS, metric)
        if m.subject == name and m.value is not None
    ]
    return ", ".join(parts)


def _tensors(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{t.dtype} {_shape(t.shape)}" for t in tensors)


def _shapes(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(_shape(t.shape) for t in tensors)


def _shape(shape: Sequence[int]) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) or "scalar"


def _qparams(params: QParams | None) -> str:
    if params is None:
        return ""
    parts = [f"{params.dtype} {params.scheme}"]
    if params.axis is not None:
        parts[0] += f", {count(len(params.scales), 'channel')} along axis {params.axis}"
    parts.append(f"scale {_range(params.scales)}")
    if any(params.zero_points):
        parts.append(f"zero point {_range(params.zero_points)}")
    return "; ".join(parts)


def _range(values: Sequence[float]) -> str:
    if not values:
        return "absent"
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _work(row: LayerRow) -> str:
    parts = []
    if row.params:
        stored = f", {row.params_quantized:,} of them in 8 bits or less"
        parts.append(f"{row.params:,} weights{stored if row.params_quantized else ''}")
    if row.macs:
        parts.append(f"{quantity(row.macs / 1e6, '', digits=3)} million MACs a sample")
    return ", ".join(parts)
