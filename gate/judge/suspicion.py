"""Suspiciously good is a finding too: signs that nothing was quantized."""

from __future__ import annotations

from collections.abc import Iterator

from gate.core.case import Case
from gate.core.findings import (
    FLOAT_WEIGHTS_KEPT,
    IDENTICAL,
    NOTHING_QUANTIZED,
    REFERENCE_QUANTIZED,
    SIZE_REDUCTION,
)
from gate.core.observation import Observation
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.layers import computing
from gate.judge.soundness import demanded, rule
from gate.judge.wording import count, names

FLOAT_METHOD = "none"
"""The quantization method that quantizes nothing, on purpose."""

SMALLEST_TOLD_BYTES = 32 * 1024
"""Below it, the nodes that a quantizer adds to a file may take more than it saves on the weights."""


def suspicion(case: Case, observation: Observation) -> Iterator[Check]:
    """Checks of every method but ``none``."""
    if case.quantization.method == FLOAT_METHOD:
        return
    for tier, name, find in (
        (Tier.LAYERS, NOTHING_QUANTIZED, _nothing_quantized),
        (Tier.LAYERS, FLOAT_WEIGHTS_KEPT, _float_weights_kept),
        (Tier.LAYERS, REFERENCE_QUANTIZED, _reference_quantized),
        (Tier.NUMERICAL, IDENTICAL, _identical),
        (Tier.DEVICE, SIZE_REDUCTION, _size_reduction),
    ):
        if demanded(case, tier, name):
            yield from find(case, observation)


def _nothing_quantized(case: Case, observation: Observation) -> Iterator[Check]:
    if observation.layers is None:
        if Tier.LAYERS in case.tiers:  # otherwise nobody asked, and `identical` still looks
            message = "not measured: the layers were not observed"
            yield rule(case, NOTHING_QUANTIZED, Status.FAIL, message, tier=Tier.LAYERS)
        return
    rows = computing(observation.layers.candidate)
    # Weight-only methods compute in floating point on weights of few bits, or of sixteen.
    half = [row for row in rows if row.params_half]
    if any(row.params_half for row in observation.layers.reference):
        half = []  # the reference has 16 bits too: that is no reduction
    reduced = [row for row in rows if row.quantized or row.params_quantized or row in half]
    if reduced:
        status, message = Status.PASS, f"{len(reduced)} of {count(len(rows), 'layer')} quantized"
        if half:
            message += f", {len(half)} of them to 16 bits"
    else:
        status = Status.FAIL
        left = names([row.name for row in rows])
        message = f"no layer is quantized: method {case.quantization.method} left {left} in float"
        if not rows:
            message = "no layer is quantized: the candidate has no computing layer"
    yield rule(case, NOTHING_QUANTIZED, status, message, tier=Tier.LAYERS)


def _reference_quantized(case: Case, observation: Observation) -> Iterator[Check]:
    if observation.layers is None:
        return
    rows = computing(observation.layers.reference)
    reduced = [row.name for row in rows if row.quantized or row.params_quantized]
    if reduced:
        message = (
            f"the reference is not in floating point: {len(reduced)} of"
            f" {count(len(rows), 'layer')} hold integer weights ({names(reduced)}); what the"
            " candidate loses beside it is not what quantization costs"
        )
        yield rule(case, REFERENCE_QUANTIZED, Status.FAIL, message, tier=Tier.LAYERS)


def _float_weights_kept(case: Case, observation: Observation) -> Iterator[Check]:
    if observation.layers is None:
        return
    kept = observation.layers.kept_float
    if kept is None:
        message = "the backend does not tell which weights lie in float beside the stored ones"
        yield rule(case, FLOAT_WEIGHTS_KEPT, Status.SKIPPED, message, tier=Tier.LAYERS)
        return
    if not kept:
        message = "no weight lies in float beside those that are computed with"
        yield rule(case, FLOAT_WEIGHTS_KEPT, Status.PASS, message, tier=Tier.LAYERS)
        return
    size = sum(one.size_bytes for one in kept)
    unread = [one.name for one in kept if one.unread]
    copies = [f"{one.name} beside {one.stored}" for one in kept if not one.unread]
    parts = [
        f"{count(len(unread), 'weight')} that nothing reads: {names(unread)}" if unread else "",
        f"{names(copies)}, which it equals" if copies else "",
    ]
    message = f"{size} B of float weights are kept: {'; '.join(filter(None, parts))}"
    yield rule(case, FLOAT_WEIGHTS_KEPT, Status.FAIL, message, tier=Tier.LAYERS)


def _identical(case: Case, observation: Observation) -> Iterator[Check]:
    outputs = observation.outputs
    compared = [o for o in outputs.values() if o.errors.elements > 0]
    if not compared or len(compared) != len(outputs):
        return  # missing and empty outputs have failed already
    same = all(
        o.errors.sum_err2 == 0.0
        and o.errors.max_abs_error == 0.0
        and o.errors.nonfinite_reference == o.errors.nonfinite_candidate == 0
        for o in compared
    )
    message = (
        f"the candidate answers exactly as the reference on all "
        f"{count(observation.samples_evaluated, 'sample')}: nothing was quantized, or the "
        "reference was compared with itself"
        if same
        else "the candidate differs from the reference, as a quantized model does"
    )
    yield rule(case, IDENTICAL, Status.FAIL if same else Status.PASS, message)


def _size_reduction(case: Case, observation: Observation) -> Iterator[Check]:
    resources = observation.resources
    if resources is None:
        return
    before, after = resources.reference_size_bytes, resources.candidate_size_bytes
    message = f"{after} B, the reference {before} B"
    if after >= before:
        message = (
            f"no size reduction: {message}; float weights are kept beside the quantized ones, or "
            "nothing was quantized (where that is meant, an override drops device.size_reduction)"
        )
    status = Status.FAIL if after >= before else Status.PASS
    if after >= before and before < SMALLEST_TOLD_BYTES:
        status = Status.PASS
        message = (
            f"{after} B, the reference {before} B: too small to tell, a graph outweighs its weights"
        )
    yield rule(case, SIZE_REDUCTION, status, message, tier=Tier.DEVICE)
