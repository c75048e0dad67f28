"""Measurements, checks and the verdict that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gate.core.flipped import FlipsCompared
from gate.core.observation import RunFailure
from gate.core.status import Status, Tier, worst
from gate.core.tolerance import Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One value of one metric for one subject, in the metric's unit, at full precision."""

    tier: Tier
    metric: str
    subject: str
    """Output name, layer name, or ``case``."""
    value: float | None
    """None where the metric has no value: data that is not finite, a missing sample, a wrong shape."""
    unit: str
    low: float | None = None
    """Interval, where the metric has one."""
    high: float | None = None
    why_none: str = ""
    """Set where ``value`` is None."""
    detail: str = ""
    """What is behind the value, for people: the layers left in float, how a shape differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule applied to one measurement."""

    tier: Tier
    rule: str
    """Metric name, or the name of an implicit rule (``coverage``, ``reference_pin``, ``nothing_quantized``)."""
    subject: str
    status: Status
    measurement: Measurement | None = None
    tolerance: Tolerance | None = None
    """None for implicit rules."""
    bound: float | None = None
    """The bound as a number in the metric's unit, after baseline or reference were filled in."""
    baseline: float | None = None
    message: str = ""

    def expected(self, metrics: tuple[str, ...]) -> bool:
        """Whether this check may fail where the spec expects a failure in ``metrics`` (empty: any).

        A failure is expected only where something was measured and is out of its bound: neither a
        missing measurement nor an implicit rule counts, unless the rule is named.
        """
        named = self.rule in metrics or f"{self.tier}.{self.rule}" in metrics
        if self.tolerance is None:
            return named
        measured = self.measurement is not None and self.measurement.value is not None
        return measured and (named or not metrics)


@dataclass(frozen=True, kw_only=True)  # no slots: every report asks for the statuses several times
class Verdict:
    """Outcome of one case; the worst check decides."""

    case_id: str
    checks: tuple[Check, ...]
    failure: RunFailure | None = None
    """Set where there is no observation to judge; always an ERROR."""
    skipped: str | None = None
    """Set where the case could not run here, with the reason."""
    expected_failure: str | None = None
    """Set where the spec expects the case to fail, with its reason."""
    expected_metrics: tuple[str, ...] = ()
    """Metrics (or ``tier.metric``) that may fail under ``expected_failure``; empty means any."""
    first_bad_layer: str | None = None
    """First layer, in order of execution, that is out of its band by itself; where none is, the
    first whose output is."""
    first_bad_layer_why: str = ""
    """What is out of which band, for people."""
    baseline_note: str = ""
    """How the baseline was used: ``compared``, ``none: ...``, ``not comparable: ...``, ``ignored``."""
    notes: tuple[str, ...] = ()
    """Things worth a look that decide nothing: other versions, an edited spec, a stale baseline."""
    flips: tuple[FlipsCompared, ...] = ()
    """One entry a ranking of the task (top-1, top-5); empty without labels."""

    @cached_property
    def measured_status(self) -> Status:
        """Worst check, before an expected failure is taken into account."""
        if self.failure is not None:
            return Status.ERROR
        if self.skipped is not None:
            return Status.SKIPPED
        return worst(check.status for check in self.checks)

    @cached_property
    def status(self) -> Status:
        """The status that counts. An expected failure that fails as expected passes; one that
        passes, or fails in a metric that was not named, fails."""
        measured = self.measured_status
        judged = (Status.PASS, Status.NOT_COMPARABLE, Status.FAIL)
        if self.expected_failure is None or measured not in judged:
            return measured
        if measured is Status.NOT_COMPARABLE and self._open:
            return measured
        if measured is not Status.FAIL:
            return Status.FAIL
        failed = (check for check in self.checks if check.status is Status.FAIL)
        expected = all(check.expected(self.expected_metrics) for check in failed)
        return Status.PASS if expected else Status.FAIL

    @property
    def _open(self) -> bool:
        """Whether a check that is expected to fail is among those that had nothing to compare with."""
        waiting = (c for c in self.checks if c.status is Status.NOT_COMPARABLE and c.tolerance)
        return any(
            not self.expected_metrics
            or c.rule in self.expected_metrics
            or f"{c.tier}.{c.rule}" in self.expected_metrics
            for c in waiting
        )

    def tier_status(self, tier: Tier) -> Status:
        """Worst check of one tier; SKIPPED where the tier has no check."""
        if self.failure is not None:
            return Status.ERROR
        return worst([Status.SKIPPED, *(c.status for c in self.checks if c.tier is tier)])
