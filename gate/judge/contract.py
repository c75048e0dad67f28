"""What a run must share with its baseline: the reference itself, and how the layers are built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gate.core.baseline import Baseline, BaselineLayer
from gate.core.case import Case
from gate.core.layer import LayerRow, TensorInfo
from gate.core.observation import Observation, ReferencePin
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.soundness import rule
from gate.judge.wording import count

PIN_RMS_LIMIT = 1e-4
"""Relative change of an output's root mean square that other kernels may cause."""
PIN_TOP1_LIMIT_PP = 0.1
"""Percentage points of top-1 that other kernels may cause."""


def contract(case: Case, observation: Observation, baseline: Baseline) -> Iterator[Check]:
    """Checks against a comparable baseline."""
    yield from _pin(case, observation.pin, baseline.pin)
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


def _pin(case: Case, now: ReferencePin | None, then: ReferencePin | None) -> Iterator[Check]:
    if then is None:
        message = "the baseline holds no pin of the reference; update it"
        yield rule(case, "reference_pin", Status.SKIPPED, message)
        return
    if now is None:
        message = "not measured: the run observed no pin of the reference"
        yield rule(case, "reference_pin", Status.FAIL, message)
        return
    if now.output_sha256 == then.output_sha256 and now.top1_correct == then.top1_correct:
        message = "the reference answers to the bit as when the baseline was accepted"
        yield rule(case, "reference_pin", Status.PASS, message)
        return
    faults = [*_rms_faults(now.output_rms, then.output_rms), *_count_faults(now, then)]
    if faults:
        message = f"the reference itself is off its pin: {'; '.join(faults)}"
        yield rule(case, "reference_pin", Status.FAIL, message)
    else:
        message = (
            "note: the reference's outputs differ in their last digits from the baseline's "
            f"(RMS within {PIN_RMS_LIMIT:g}, top-1 within {PIN_TOP1_LIMIT_PP:g} pp)"
        )
        yield rule(case, "reference_pin", Status.PASS, message)


def _rms_faults(now: Mapping[str, float], then: Mapping[str, float]) -> Iterator[str]:
    if set(now) != set(then):
        yield f"outputs {sorted(now)}, in the baseline {sorted(then)}"
        return
    for name, old in then.items():
        new = now[name]
        if not abs(new - old) <= PIN_RMS_LIMIT * abs(old):  # so written, NaN is a fault
            yield f"RMS of {name} {old:.6g} -> {new:.6g}"


def _count_faults(now: ReferencePin, then: ReferencePin) -> Iterator[str]:
    if now.samples != then.samples:
        yield f"{then.samples} -> {count(now.samples, 'sample')}"
        return
    if now.top1_correct is None and then.top1_correct is None:
        return
    if now.top1_correct is None or then.top1_correct is None:
        yield f"top-1 {then.top1_correct} -> {now.top1_correct}"
    elif abs(now.top1_correct - then.top1_correct) * 100.0 > PIN_TOP1_LIMIT_PP * now.samples:
        yield f"top-1 {then.top1_correct} -> {now.top1_correct} of {now.samples}"


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
