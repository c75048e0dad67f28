"""Measurements of the layers tier: how the candidate is built, and where its error arises."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gate.core.layer import LayerMatch, LayerRow, LayersObserved, QParams
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.judge.wording import names
from gate.metrics import elementwise
from gate.metrics.catalogue import BY_NAME, CATALOGUE

_ISOLATED = "isolated_"
"""A layer run alone on the reference's inputs to it."""
ERROR_METRICS = tuple(
    info.name
    for info in CATALOGUE
    if info.tier is Tier.LAYERS and info.name.removeprefix(_ISOLATED) in elementwise.BY_NAME
)
"""Those that say how far a layer is off; the others say how it is built."""
_INTEGER = re.compile(r"q?(u?)int(\d+)")
_BLOCK = re.compile(r"per-block-(\d+)-")


@dataclass(frozen=True, slots=True)
class Ordered:
    """The layers of both models, to be gone through in order of execution."""

    observed: LayersObserved
    names: tuple[str, ...]
    """As of ``execution_order``."""
    candidate: Mapping[str, LayerRow]
    reference: Mapping[str, LayerRow]
    matches: Mapping[str, LayerMatch]


def ordered(observed: LayersObserved) -> Ordered:
    """Look the layers up by name."""
    return Ordered(
        observed,
        names=execution_order(observed),
        candidate={row.name: row for row in observed.candidate},
        reference={row.name: row for row in observed.reference},
        matches={match.candidate: match for match in observed.matches},
    )


def built(layers: Ordered) -> Iterator[Measurement]:
    """Every metric of how the candidate is built: of the whole case first, then layer by layer."""
    yield from _case(layers.observed.candidate)
    for name in layers.names:
        row, match = layers.candidate.get(name), layers.matches.get(name)
        if row is None and match is None:
            yield _measurement("shapes", name, None, "no layer of the candidate stands for it")
        elif row is None:
            yield _measurement(
                "shapes", name, None, "matched, but not among the candidate's layers"
            )
        else:
            yield from _layer(row, match, layers.reference)


def errors(layers: Ordered, metric: str) -> Iterator[Measurement]:
    """One of ``ERROR_METRICS``, layer by layer."""
    for name in layers.names:
        row, match = layers.candidate.get(name), layers.matches.get(name)
        if row is None or match is None:
            continue
        if match.errors is not None:
            yield _error(metric, name, match)
        elif not _hidden(row, _covered(match, layers.reference)):
            yield _measurement(metric, name, None, "its output was not observed")


def execution_order(observed: LayersObserved) -> tuple[str, ...]:
    """Names of the candidate's layers as they run, and among them, at the place where they would
    run, the computing reference layers that no candidate layer stands for."""
    order = [row.name for row in observed.candidate]
    known = set(order)
    order += [match.candidate for match in observed.matches if match.candidate not in known]
    place = {row.name: index for index, row in enumerate(observed.reference)}
    first = {
        m.candidate: min((place.get(r, 0) for r in m.reference), default=0)
        for m in observed.matches
    }
    unmatched = set(observed.unmatched_reference)
    for row in observed.reference:
        if row.name in unmatched and row.computes:
            later = (i for i, name in enumerate(order) if first.get(name, -1) > place[row.name])
            order.insert(next(later, len(order)), row.name)
    return tuple(order)


def unobservable(observed: LayersObserved) -> tuple[str, ...]:
    """Matched layers without arithmetic of their own whose output the runtime does not show: they
    have no error metrics, which the verdict mentions and does not hold against the candidate."""
    rows = {row.name: row for row in observed.candidate}
    reference = {row.name: row for row in observed.reference}
    return tuple(
        match.candidate
        for match in observed.matches
        if match.errors is None
        and (row := rows.get(match.candidate)) is not None
        and _hidden(row, _covered(match, reference))
    )


def computing(rows: Iterable[LayerRow]) -> tuple[LayerRow, ...]:
    """The layers that a quantizer is expected to take to integers."""
    return tuple(row for row in rows if row.computes)


def qparams_fault(params: QParams) -> str:
    """What is wrong with quantization parameters; empty where nothing is.

    Scales must be finite and positive (those of a block finite), there must be one (or one a channel, as many as the axis is
    long) of scale and zero point each, and zero points must be values of the stored type. A
    weight's axis must be that of its output channels: what a runtime makes of another one is its
    own affair (onnxruntime issues 13038 and 19694).
    """
    return next(_qparams_faults(params), "")


def _qparams_faults(params: QParams) -> Iterator[str]:
    scales, zero_points = params.scales, params.zero_points
    if not scales or len(scales) != len(zero_points):
        yield f"{len(scales)} scales beside {len(zero_points)} zero points"
    by_block = params.scheme.startswith("per-block")
    per_channel = by_block or params.scheme.startswith("per-channel")
    if per_channel and params.axis is None:
        yield "a scheme by channel without an axis"
    if per_channel and params.output_axis is not None and params.axis != params.output_axis:
        yield f"scales along axis {params.axis}, the output channels are axis {params.output_axis}"
    wanted = params.channels if per_channel else 1
    if wanted is not None and len(scales) != wanted:
        yield f"{len(scales)} scales for {wanted} channels"
    for index, scale in enumerate(scales):
        if by_block and not math.isfinite(scale):
            yield f"scale {scale!r} in a block of channel {index} is not finite"
        elif not by_block and not (math.isfinite(scale) and scale > 0.0):
            yield f"scale {scale!r} of channel {index} is not finite and positive"
    low, high = _integer_range(params.dtype)
    for index, zero_point in enumerate(zero_points):
        if not low <= zero_point <= high:
            yield f"zero point {zero_point} of channel {index} is no {params.dtype}"


def shapes_fault(row: LayerRow, reference: Sequence[LayerRow]) -> str:
    """How a layer's shapes differ from those of the reference layers it stands for, in order.

    Outputs are the last layer's. Inputs are the first layer's; a layer that covers several may
    have more of them (a fused addition brings its other operand).
    """
    ours, theirs = ([t.shape for t in row.outputs], [t.shape for t in reference[-1].outputs])
    if ours != theirs:
        return f"output {_shapes(ours)}, the reference's {_shapes(theirs)}"
    ours, theirs = ([t.shape for t in row.inputs], [t.shape for t in reference[0].inputs])
    rest = list(ours)
    for shape in theirs:
        if shape not in rest:
            return f"input {_shapes(ours)}, the reference's {_shapes(theirs)}"
        rest.remove(shape)
    if rest and len(reference) == 1:
        return f"input {_shapes(ours)}, the reference's {_shapes(theirs)}"
    return ""


def _case(rows: Sequence[LayerRow]) -> Iterator[Measurement]:
    compute = computing(rows)
    integer = [row for row in compute if row.quantized]
    shares = (
        ("quantized_ops", len(integer), len(compute), "the candidate has no computing layer"),
        (
            "int8_params",
            sum(row.params_quantized for row in rows),
            sum(row.params for row in rows),
            "the candidate's layers have no weights",
        ),
        (
            "int8_macs",
            sum(row.macs for row in integer),
            sum(row.macs for row in compute),
            "the candidate's layers have no multiply-accumulates",
        ),
    )
    for metric, part, whole, why in shares:
        yield _measurement(metric, "case", 100.0 * part / whole if whole > 0 else None, why)
    weights = sum(row.params for row in rows)
    yield _measurement(
        "weight_bits",
        "case",
        sum(map(_bits, rows)) / weights if weights else None,
        "the candidate's layers have no weights",
    )
    yield _measurement(
        "float_layers",
        "case",
        float(len(compute) - len(integer)) if compute else None,
        "the candidate has no computing layer",
    )


def _bits(row: LayerRow) -> float:
    """Bits of a layer's weights at the width of their types, with their scales (of 32 bits) and,
    of affine schemes, zero points; float ones count 32 or 16."""
    params = row.weight
    total = 32.0 * (row.params - row.params_quantized - row.params_half) + 16.0 * row.params_half
    if params is None:
        return total + 8.0 * row.params_quantized
    found = _INTEGER.fullmatch(params.dtype)
    width = int(found[2]) if found is not None else 8
    block = _BLOCK.match(params.scheme)
    scales = row.params_quantized / int(block[1]) if block else len(params.scales)
    offset = width if params.scheme.endswith("affine") else 0
    return total + width * row.params_quantized + (32 + offset) * scales


def _layer(
    row: LayerRow, match: LayerMatch | None, reference: Mapping[str, LayerRow]
) -> Iterator[Measurement]:
    if row.weight is not None or row.output is not None:
        faults = [
            f"{what}: {fault}"
            for what, params in (("weight", row.weight), ("output", row.output))
            if params is not None and (fault := qparams_fault(params))
        ]
        yield _truth("qparams", row.name, "; ".join(faults))
    yield from _sparsity(row)
    if match is None:
        if row.computes:
            why = "no reference layer was matched with it"
            yield _measurement("shapes", row.name, None, why)
        return
    covered = _covered(match, reference)
    if not covered or len(covered) != len(match.reference):
        lost = [name for name in match.reference if name not in reference]
        why = f"matched with {names(lost) or 'nothing'}, which the reference does not have"
        yield _measurement("shapes", row.name, None, why)
    else:
        yield _truth("shapes", row.name, shapes_fault(row, covered))


def _sparsity(row: LayerRow) -> Iterator[Measurement]:
    """Nothing of a layer that cannot hold the pattern."""
    if row.groups_unknown:
        yield _measurement("sparsity_2_4", row.name, None, row.groups_unknown)
    elif row.groups_of_four:
        share = 100.0 * row.groups_sparse / row.groups_of_four
        yield _measurement("sparsity_2_4", row.name, share, "")


def _error(metric: str, name: str, match: LayerMatch) -> Measurement:
    sums = match.isolated if metric.startswith(_ISOLATED) else match.errors
    if sums is None:
        why = f"it could not be run alone: {match.why_not_isolated or 'it was not tried'}"
        return _measurement(metric, name, None, why)
    value = elementwise.BY_NAME[metric.removeprefix(_ISOLATED)](sums)
    damage = elementwise.why_no_value(sums)
    return _measurement(metric, name, value, damage or "the reference's output is constant or zero")


def _covered(match: LayerMatch, reference: Mapping[str, LayerRow]) -> list[LayerRow]:
    return [reference[name] for name in match.reference if name in reference]


def _hidden(row: LayerRow, covered: Sequence[LayerRow]) -> bool:
    """Nothing computed on either side, and an output that one of the runtimes does not show."""
    seen = row.capture is not None and all(r.capture is not None for r in covered[-1:])
    return not seen and not row.computes and not any(r.computes for r in covered)


def _truth(metric: str, subject: str, fault: str) -> Measurement:
    """A ``bool`` measurement; a fault is a value (false) with its reason beside it."""
    return Measurement(
        tier=Tier.LAYERS,
        metric=metric,
        subject=subject,
        value=0.0 if fault else 1.0,
        unit=BY_NAME[Tier.LAYERS, metric].unit,
        detail=fault,
    )


def _measurement(metric: str, subject: str, value: float | None, why: str) -> Measurement:
    return Measurement(
        tier=Tier.LAYERS,
        metric=metric,
        subject=subject,
        value=value,
        unit=BY_NAME[Tier.LAYERS, metric].unit,
        why_none=why if value is None else "",
    )


def _integer_range(dtype: str) -> tuple[int, int]:
    found = _INTEGER.fullmatch(dtype)
    if found is None:
        return 0, 0  # small floating-point types have no zero point
    bits = int(found[2])
    return (0, 2**bits - 1) if found[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(str(list(shape)) for shape in shapes) or "none"
