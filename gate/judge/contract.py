"""What a run must share with its baseline: how the layers are built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gate.core.baseline import Baseline, BaselineLayer
from gate.core.case import Case
from gate.core.layer import LayerRow, TensorInfo
from gate.core.observation import Observation
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.soundness import rule
from gate.judge.wording import count


def contract(case: Case, observation: Observation, baseline: Baseline) -> Iterator[Check]:
    """Checks against a comparable baseline."""
    if Tier.LAYERS in case.tiers and observation.layers is not None:
        yield from _layers(case, observation.layers.candidate, baseline.layers)


def layer_changes(
    then: Sequence[BaselineLayer], now: Sequence[BaselineLayer]
) -> tuple[tuple[str, str], ...]:
    """(layer, what changed) between two ways of building a model: in the order of ``now``, layers
    that are gone last. Another operator name alone is no change."""
    before = {layer.name: layer for layer in then}
    after = {layer.name for layer in now}
    changes = []
    for layer in now:
        old = before.get(layer.name)
        difference = f"added ({layer.op})" if old is None else _difference(old, layer)
        if difference:
            changes.append((layer.name, difference))
    changes += [(old.name, f"missing (was {old.op})") for old in then if old.name not in after]
    return tuple(changes)


def baseline_layer(row: LayerRow) -> BaselineLayer:
    """The part of a layer that a baseline keeps."""
    return BaselineLayer(
        name=row.name,
        op=row.op,
        quantized=row.quantized,
        inputs=row.inputs,
        outputs=row.outputs,
        weight_scheme=row.weight.scheme if row.weight is not None else None,
        weight_dtype=row.weight.dtype if row.weight is not None else None,
        output_qparams=row.output,
    )


def _layers(
    case: Case, rows: Sequence[LayerRow], accepted: Sequence[BaselineLayer]
) -> Iterator[Check]:
    if not accepted:
        message = "the baseline holds no layers; update it"
        yield rule(case, "layer_contract", Status.FAIL, message, tier=Tier.LAYERS)
        return
    changes = layer_changes(accepted, [baseline_layer(row) for row in rows])
    for name, change in changes:
        yield rule(case, "layer_contract", Status.FAIL, change, tier=Tier.LAYERS, subject=name)
    if not changes:
        message = f"{count(len(rows), 'layer')} built as in the baseline"
        yield rule(case, "layer_contract", Status.PASS, message, tier=Tier.LAYERS)


def _difference(then: BaselineLayer, now: BaselineLayer) -> str:
    faults = []
    if then.quantized != now.quantized:
        faults.append(f"was {_arithmetic(then)}, now {_arithmetic(now)}")
    for what, old, new in (
        ("inputs", then.inputs, now.inputs),
        ("outputs", then.outputs, now.outputs),
    ):
        if old != new:
            faults.append(f"{what} {_tensors(old)} -> {_tensors(new)}")
    for what, old_text, new_text in (
        ("weight", then.weight_dtype, now.weight_dtype),
        ("weight scheme", then.weight_scheme, now.weight_scheme),
    ):
        if old_text != new_text:
            faults.append(f"{what} {old_text} -> {new_text}")
    return "; ".join(faults)


def _arithmetic(layer: BaselineLayer) -> str:
    return (layer.weight_dtype or "integer") if layer.quantized else "float"


def _tensors(tensors: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{t.dtype}{list(t.shape)}" for t in tensors) or "none"
