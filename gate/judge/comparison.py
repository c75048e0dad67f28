"""Whether, and how far, a baseline can be compared with this run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.baseline import (
    Baseline,
    BaselineBroken,
    BaselineFound,
    BaselineLookup,
    BaselineMissing,
    BaselineNotComparable,
)
from gate.core.case import Case
from gate.core.environment import Environment
from gate.core.observation import Observation
from gate.core.status import Status, Tier
from gate.core.task import CUSTOM
from gate.core.verdict import Check
from gate.judge.device import TIME_METRICS

REFERENCE_SUBJECT = "reference"
"""Subject under which a baseline keeps the reference's own value of a device metric."""

_MACHINE_BOUND = TIME_METRICS | {"speedup", "latency_ratio"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A baseline to count from, or the reason why there is none."""

    baseline: Baseline | None
    why_not: str = ""
    """Reason for the checks that need a baseline; set where there is none."""
    note: str = ""
    """``Verdict.baseline_note``."""
    checks: tuple[Check, ...] = ()
    """What the baseline itself is judged by: there, whole, of the same data and kernels."""
    notes: tuple[str, ...] = ()
    values: Mapping[tuple[Tier, str, str], float] = field(default_factory=dict)
    why_not_status: Status = Status.SKIPPED
    """Of the checks that need a baseline, where there is none."""
    machine_differs: str = ""
    """Why times of the baseline say nothing about this machine; empty where they do."""

    def value(self, tier: Tier, metric: str, subject: str) -> float | None:
        """The accepted value; None where the baseline holds none."""
        return self.values.get((tier, metric, subject))

    def why_no_time(self, metric: str) -> str:
        """Why the baseline's value of ``metric`` cannot be compared although there is one."""
        return self.machine_differs if metric in _MACHINE_BOUND else ""


def compare(case: Case, observation: Observation, lookup: BaselineLookup) -> Comparison:
    """Decide what a look-up means under the case's policy. Never lets a baseline of other data,
    other kernels, another decoding or another case be used silently."""
    if case.baseline_policy == "ignore":
        return Comparison(baseline=None, why_not="the spec says baseline: ignore", note="ignored")
    match lookup:
        case BaselineFound(baseline=baseline):
            return _found(case, observation, baseline)
        case BaselineNotComparable(reason=reason, rule_changed=rule_changed):
            return _not_comparable(case, reason, rule_changed=rule_changed)
        case BaselineBroken(path=path, reason=reason):
            return Comparison(
                baseline=None,
                why_not="the baseline is broken",
                note=f"broken: {reason}",
                checks=(_check(case, Status.ERROR, f"{path}: {reason}"),),
            )
        case BaselineMissing(path=path):
            return _missing(case, path)


def _not_comparable(case: Case, reason: str, *, rule_changed: bool) -> Comparison:
    note = f"not comparable: {reason}"
    if rule_changed:
        # Otherwise editing one line of the spec would switch every comparison off.
        message = (
            f"{note}; the spec's own rule of what is comparable (environment) changed: accept this "
            f"run under it with `gate baseline update {case.spec_path} --select '{case.id}' --reason ...`"
        )
        return Comparison(
            baseline=None,
            why_not=note,
            note=note,
            checks=(_check(case, Status.FAIL, message),),
        )
    return Comparison(
        baseline=None,
        why_not=note,
        why_not_status=Status.NOT_COMPARABLE,
        note=note,
        checks=(_check(case, Status.NOT_COMPARABLE, note),),
    )


def _missing(case: Case, path: str) -> Comparison:
    if case.baseline_policy == "record":
        why = "there is no baseline yet; the spec says baseline: record"
        return Comparison(
            baseline=None,
            why_not=why,
            note="none: to be recorded",
            checks=(_check(case, Status.SKIPPED, why),),
        )
    message = (
        f"the spec requires a baseline and there is none at {path}; accept this run with "
        f"`gate baseline update {case.spec_path} --select '{case.id}'`"
    )
    return Comparison(
        baseline=None,
        why_not="there is no baseline",
        note="none: required",
        checks=(_check(case, Status.FAIL, message),),
    )


def _found(case: Case, observation: Observation, baseline: Baseline) -> Comparison:
    here, there = observation.environment, baseline.environment
    refused = ""
    status = Status.FAIL
    if baseline.case_id != case.id:
        refused, status = f"it belongs to {baseline.case_id}", Status.ERROR
    elif case.comparability.differences(here, there):
        differences = "; ".join(case.comparability.differences(here, there))
        refused = f"it was recorded on {baseline.environment_class}: {differences}"
        status = Status.ERROR
    elif (here.backend, here.engine) != (there.backend, there.engine):
        refused = (
            f"it was recorded with {there.backend}/{there.engine}, "
            f"this run used {here.backend}/{here.engine}"
        )
    elif baseline.data_digest != observation.data_digest:
        refused = _other_data(observation, baseline)
    elif changed := _scored_otherwise(case, baseline):
        refused = f"it was recorded under another {', '.join(changed)}"
    if refused:
        message = (
            f"the baseline cannot be used: {refused}; if that is meant, accept it with "
            f"`gate baseline update {case.spec_path} --select '{case.id}' --reason ...`"
        )
        return Comparison(
            baseline=None,
            why_not=f"the baseline cannot be used: {refused}",
            note=f"not comparable: {refused}",
            checks=(_check(case, status, message),),
        )
    return Comparison(
        baseline=baseline,
        note="compared",
        checks=(_check(case, Status.PASS, f"accepted {baseline.provenance.date}"),),
        notes=_notes(case, here, baseline),
        values={(v.tier, v.metric, v.subject): v.value for v in baseline.values},
        machine_differs=_machine_differs(here, there),
    )


def _other_data(observation: Observation, baseline: Baseline) -> str:
    now = observation.samples_planned
    then = baseline.pin.samples if baseline.pin is not None else now
    what = (
        f"{then} samples then, {now} now"
        if then != now
        else "as many samples, of other content, labels, order or preprocessing"
    )
    return f"it was recorded on other evaluation data ({what})"


def _scored_otherwise(case: Case, baseline: Baseline) -> list[str]:
    """What makes the accepted values answers to another question. A metric that is new has no accepted
    value; one that is gone is asked for no more."""
    then, now = baseline.scoring, case.scoring
    return [
        f"task ({then[what]}, {now[what]} now)"
        if what == "task"
        else f"definition of {what}"
        if what.startswith(CUSTOM)
        else what
        for what in now
        if what in then and then[what] != now[what]
    ]


def _machine_differs(here: Environment, there: Environment) -> str:
    differences = [
        f"{name} {then!r} then, {now!r} now"
        for name, then, now in (
            ("processor", there.cpu_model, here.cpu_model),
            ("threads", there.threads, here.threads),
        )
        if then != now
    ]
    return f"times are not comparable: {', '.join(differences)}" if differences else ""


def _notes(case: Case, here: Environment, baseline: Baseline) -> tuple[str, ...]:
    notes = []
    if baseline.spec_digest != case.spec_digest:
        notes.append("the spec was edited since the baseline was accepted")
    then, now = baseline.environment.versions, here.versions
    changed = [
        f"{name} {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if changed:
        notes.append(f"versions since the baseline: {', '.join(changed)}")
    return tuple(notes)


def _check(case: Case, status: Status, message: str) -> Check:
    tier = case.tiers[0] if case.tiers else Tier.NUMERICAL
    return Check(tier=tier, rule="baseline", subject="case", status=status, message=message)
