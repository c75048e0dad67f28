"""Checks of the hostile probes: each under its own bounds, and finite wherever the reference is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gate.core.case import Case
from gate.core.layer import ErrorSums
from gate.core.observation import Observation
from gate.core.probes import PROBES, ProbeObserved, ProbeSpec
from gate.core.status import Status, Tier
from gate.core.tolerance import Tolerance
from gate.core.verdict import Check, Measurement
from gate.judge.soundness import rule
from gate.judge.tolerances import holds
from gate.judge.wording import compared, count
from gate.metrics import elementwise
from gate.metrics.catalogue import BY_NAME

_FAR = 4.0
"""Times the reference's noise power, 6 dB."""


def probes(case: Case, observation: Observation) -> Iterator[Check]:
    """At least one check of every probe that the case asks for."""
    observed = {probe.name: probe for probe in observation.probes}
    for spec in case.probes:
        found = observed.get(spec.name)
        if found is None:
            message = "not measured: the probe did not run"
            yield rule(case, spec.rule, Status.FAIL, message)
        else:
            usual = observation.pin.output_rms if observation.pin is not None else {}
            yield from _probe(case, spec, found, usual)


def _probe(
    case: Case, spec: ProbeSpec, seen: ProbeObserved, usual: Mapping[str, float]
) -> Iterator[Check]:
    fed = f" on {seen.detail}" if seen.detail else ""
    for status, message in (
        (Status.SKIPPED, seen.not_applicable and f"not applicable: {seen.not_applicable}"),
        (Status.SKIPPED, seen.refused_by_both and f"neither side takes it: {seen.refused_by_both}"),
        (
            Status.SKIPPED,
            seen.reference_fault and f"the reference does not take it: {seen.reference_fault}",
        ),
        (
            Status.FAIL,
            seen.candidate_fault
            and f"only the candidate fails{fed}: {seen.candidate_fault}; the reference answers",
        ),
    ):
        if message:
            yield rule(case, spec.rule, status, message)
            return
    if not seen.outputs:
        yield rule(case, spec.rule, Status.FAIL, "not measured: no output was compared")
        return
    for name in seen.outputs:
        yield from _output(spec, seen, name, usual.get(name, 0.0))


def _output(spec: ProbeSpec, seen: ProbeObserved, name: str, usual: float) -> Iterator[Check]:
    reference, candidate = _damaged(spec, seen, name)
    if candidate > reference:
        message = f"not finite on {seen.detail}: {count(candidate, 'element')}"
        yield _check(spec, name, Status.FAIL, message)
        return
    if reference:
        yield _check(spec, name, Status.SKIPPED, "the reference itself is not finite on it")
        return
    for bound in spec.bounds:
        yield _bounded(spec, seen, name, bound, usual)


def _damaged(spec: ProbeSpec, seen: ProbeObserved, name: str) -> tuple[int, int]:
    """How many elements of the reference and of the candidate are not finite."""
    sums, own = seen.outputs[name], seen.own.get(name)
    if not PROBES[spec.name].itself:
        return sums.nonfinite_reference, sums.nonfinite_candidate
    # The candidate stands on both sides of ``outputs``, the reference on both of ``own``.
    return _either(own) if own is not None else 0, _either(sums)


def _either(sums: ErrorSums) -> int:
    return max(sums.nonfinite_reference, sums.nonfinite_candidate)


def _bounded(
    spec: ProbeSpec, seen: ProbeObserved, name: str, bound: Tolerance, usual: float
) -> Check:
    """``usual`` is the root mean square of the reference's output over the evaluation samples."""
    sums = _floored(seen.outputs[name], usual)
    own = seen.own.get(name)
    unit = BY_NAME[Tier.NUMERICAL, bound.metric].unit
    value = elementwise.BY_NAME[bound.metric](sums)
    if value is None:
        message = f"not measured: {_undefined(sums)}"
        return _check(spec, name, Status.FAIL, message, bound=bound)
    measurement = Measurement(
        tier=Tier.NUMERICAL,
        metric=f"{spec.rule}.{bound.metric}",
        subject=name,
        value=value,
        unit=unit,
        detail=seen.detail,
    )
    good = holds(value, bound.op, bound.value)
    message = compared(value, bound.op, bound.value, unit)
    status = Status.PASS if good else Status.FAIL
    if not good and PROBES[spec.name].itself:
        status, message = _with_itself(
            bound, sums, None if own is None else _floored(own, usual), unit, message
        )
    return _check(spec, name, status, message, bound=bound, measurement=measurement)


def _with_itself(
    bound: Tolerance, sums: ErrorSums, own: ErrorSums | None, unit: str, message: str
) -> tuple[Status, str]:
    """A model that depends on how it is asked is no fault of its quantization; a candidate that
    depends on it far more than its reference is one."""
    value = None if own is None else elementwise.BY_NAME[bound.metric](own)
    if own is not None and value is not None and not holds(value, bound.op, bound.value):
        apart = compared(value, bound.op, bound.value, unit)
        itself = f"the reference itself answers otherwise when asked otherwise: {apart}"
        if _noise(sums) <= _FAR * _noise(own):
            return Status.SKIPPED, itself
        return Status.FAIL, f"{message}: far more than the reference ({apart})"
    return Status.FAIL, f"{message}: the candidate answers otherwise when asked otherwise"


def _noise(sums: ErrorSums) -> float:
    """Power of the difference over that of the signal."""
    return sums.sum_err2 / sums.sum_x2 if sums.sum_x2 else 0.0


def _floored(sums: ErrorSums, usual: float) -> ErrorSums:
    """The same with at least the usual signal."""
    return replace(sums, sum_x2=max(sums.sum_x2, usual * usual * sums.elements))


def _undefined(sums: ErrorSums) -> str:
    return elementwise.why_no_value(sums) or "the reference's output is constant or zero"


def _check(
    spec: ProbeSpec,
    subject: str,
    status: Status,
    message: str,
    *,
    bound: Tolerance | None = None,
    measurement: Measurement | None = None,
) -> Check:
    return Check(
        tier=Tier.NUMERICAL,
        rule=spec.rule,
        subject=subject,
        status=status,
        measurement=measurement,
        tolerance=bound,
        bound=bound.value if bound is not None else None,
        message=message,
    )
