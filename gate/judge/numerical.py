"""Measurements of the numerical tier: each model output, candidate against reference."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gate.core.observation import Observation, OutputObserved
from gate.core.status import Tier
from gate.core.verdict import Measurement
from gate.metrics import elementwise
from gate.metrics.catalogue import CATALOGUE
from gate.metrics.classification import share_percent

_METRICS = tuple(info for info in CATALOGUE if info.tier is Tier.NUMERICAL)


def numerical(observation: Observation) -> Iterator[Measurement]:
    """Every numerical metric of every reference output, in the outputs' order."""
    for name, output in observation.outputs.items():
        fault = missing_samples(observation) or output_fault(output, observation.samples_planned)
        for info in _METRICS:
            value, why = (None, fault) if fault else _value(info.name, output)
            yield Measurement(
                tier=info.tier,
                metric=info.name,
                subject=name,
                value=value,
                unit=info.unit,
                why_none=why if value is None else "",
            )
    for name in observation.missing_outputs:
        for info in _METRICS:
            yield Measurement(
                tier=info.tier,
                metric=info.name,
                subject=name,
                value=None,
                unit=info.unit,
                why_none="the candidate has no such output",
            )


def missing_samples(observation: Observation) -> str:
    """What is wrong with the number of samples; empty where all planned ones were evaluated."""
    planned, evaluated = observation.samples_planned, observation.samples_evaluated
    if planned < 1:
        return "no sample was planned"
    if evaluated != planned:
        return f"{evaluated} of {planned} planned samples were evaluated"
    return ""


def output_fault(output: OutputObserved, samples_planned: int) -> str:
    """What keeps an output from being measured at all; empty where nothing does.

    Elements that are not finite are no fault here: ``finite`` has a value then.
    """
    if output.candidate.shape != output.reference.shape:
        return (
            f"the candidate's shape is {output.candidate.shape}, "
            f"the reference's {output.reference.shape}"
        )
    if output.samples != samples_planned:
        return f"{output.samples} of {samples_planned} planned samples were compared"
    sums = output.errors
    expected = output.samples * math.prod(output.reference.shape)
    damaged = sums.nonfinite_reference + sums.nonfinite_candidate
    # A pair may be damaged on both sides, so the two counts bound what is missing from above.
    if not expected - damaged <= sums.elements <= expected:
        return f"{sums.elements} of {expected} elements were compared"
    return ""


def _value(metric: str, output: OutputObserved) -> tuple[float | None, str]:
    sums = output.errors
    if metric == "finite":
        return float(elementwise.is_finite(sums)), ""
    damage = elementwise.why_no_value(sums)
    if damage:
        return None, damage
    if metric in {"kl_divergence", "top1_agreement"}:
        return _class_value(metric, output)
    return elementwise.BY_NAME[metric](sums), "the reference's output is constant or zero"


def _class_value(metric: str, output: OutputObserved) -> tuple[float | None, str]:
    total, agreement = output.kl_sum_nats, output.agreement
    if metric == "kl_divergence":
        return None if total is None else total / output.samples, "the output has no class axis"
    if agreement is not None and len(agreement) != output.samples:
        return None, f"{len(agreement)} of {output.samples} samples have an arg-max"
    return share_percent(agreement or ""), "the output has no class axis"
