"""The reference against its pin: whether the float model is still the one that was accepted.

A broken reference breaks the candidate made from it, and the two still agree. The pin is absolute: a
digest where nothing changed at all, else a sketch of the outputs, by which the last digits that
other kernels change are told from another function, and the number of right answers.
"""

from __future__ import annotations

from collections.abc import Iterator

from gate.core.baseline import Baseline
from gate.core.case import Case
from gate.core.observation import Observation, ReferencePin
from gate.core.status import Status
from gate.core.verdict import Check
from gate.judge.soundness import rule
from gate.judge.wording import count
from gate.metrics.sketch import relative_change

PIN_CHANGE_LIMIT = 1e-3
"""Relative change of an output (RMS of the difference by RMS) beyond which it is another function.
Other kernels, threads and optimisers of the same arithmetic stay near 1e-6; bfloat16 and eight
bits are near 1e-2."""
PIN_RMS_LIMIT = 1e-4
"""Relative change of an output's root mean square that other kernels may cause."""
PIN_TOP1_LIMIT_PP = 0.1
"""Percentage points of top-1 that other kernels may cause."""

_MEANING = (
    "what the candidate is compared with is not what was accepted, so its own results mean nothing "
    "until this is settled"
)


def reference_pin(case: Case, observation: Observation, baseline: Baseline) -> Iterator[Check]:
    """The one check of the reference itself."""
    now, then = observation.pin, baseline.pin
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
    faults = [*_output_faults(now, then), *_count_faults(now, then)]
    if faults:
        versions = _versions(observation, baseline)
        message = (
            f"the reference itself is off its pin: {'; '.join(faults)}{versions}; {_MEANING}: put "
            "the float model right, or accept it with "
            f"`gate baseline update {case.spec_path} --select '{case.id}' --reason ...`"
        )
        yield rule(case, "reference_pin", Status.FAIL, message)
        return
    message = (
        "note: the reference's outputs differ in their last digits from the baseline's "
        f"({_closeness(now, then)})"
    )
    yield rule(case, "reference_pin", Status.PASS, message)


def _output_faults(now: ReferencePin, then: ReferencePin) -> Iterator[str]:
    if set(now.output_rms) != set(then.output_rms):
        yield f"outputs {sorted(now.output_rms)}, in the baseline {sorted(then.output_rms)}"
        return
    for name, old in then.output_rms.items():
        new = now.output_rms[name]
        if not abs(new - old) <= PIN_RMS_LIMIT * abs(old):  # so written, NaN is a fault
            yield f"RMS of {name} {old:.6g} -> {new:.6g}"
        change = _change(now, then, name)
        if change is not None and not change <= PIN_CHANGE_LIMIT:
            yield f"{name} changed by about {100.0 * change:.2g} % of its size"


def _change(now: ReferencePin, then: ReferencePin, name: str) -> float | None:
    """Relative change of one output; None where a side has no sketch (an older baseline)."""
    new, old = now.sketch.get(name), then.sketch.get(name)
    if new is None or old is None or len(new) != len(old):
        return None
    return relative_change(new, old)


def _count_faults(now: ReferencePin, then: ReferencePin) -> Iterator[str]:
    if now.samples != then.samples:
        yield f"{then.samples} -> {count(now.samples, 'sample')}"
        return
    if now.top1_correct is None and then.top1_correct is None:
        return
    if now.top1_correct is None or then.top1_correct is None:
        yield f"top-1 {then.top1_correct} -> {now.top1_correct}"
        return
    moved = abs(now.top1_correct - then.top1_correct)
    if moved > _ties(now, then) and moved * 100.0 > PIN_TOP1_LIMIT_PP * now.samples:
        yield f"top-1 {then.top1_correct} -> {now.top1_correct} of {now.samples}"


def _ties(now: ReferencePin, then: ReferencePin) -> int:
    """Samples that may flip in a set that is too small for a tenth of a per cent: one, where the
    outputs did change, and are known to have changed in their last digits only."""
    changes = [_change(now, then, name) for name in then.output_rms]
    close = all(change is not None and change <= PIN_CHANGE_LIMIT for change in changes)
    return 1 if changes and close and now.output_sha256 != then.output_sha256 else 0


def _closeness(now: ReferencePin, then: ReferencePin) -> str:
    changes = [c for name in then.output_rms if (c := _change(now, then, name)) is not None]
    if changes:
        return (
            f"by about {max(changes):.1g} of their size, at most {PIN_CHANGE_LIMIT:g} is rounding"
        )
    return f"RMS within {PIN_RMS_LIMIT:g}, top-1 within {PIN_TOP1_LIMIT_PP:g} pp"


def _versions(observation: Observation, baseline: Baseline) -> str:
    """The likeliest cause, where there is one."""
    then, now = baseline.environment.versions, observation.environment.versions
    changed = [
        f"{name} {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if baseline.artifacts.get("reference") != observation.artifacts.get("reference"):
        changed.insert(0, "the float model's own file")
    return f" (since the baseline changed: {', '.join(changed)})" if changed else ""
