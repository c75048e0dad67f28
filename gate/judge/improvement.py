"""Better than accepted is a finding too: a stale baseline, or speed that was paid for with accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate.core.case import Case
from gate.core.findings import SPEED_FOR_ACCURACY, STALE_BASELINE
from gate.core.status import Status, Tier
from gate.core.tolerance import Anchor, Op
from gate.core.verdict import Check
from gate.judge.comparison import Comparison
from gate.judge.device import TIME_METRICS
from gate.judge.measure import Measured
from gate.judge.soundness import demanded, rule
from gate.judge.wording import names, shown
from gate.metrics.catalogue import CATALOGUE, Direction

FASTER = 1.25
"""Growth of the speed-up that noise does not explain: about ten standard deviations between launches."""
LESS_ACCURATE_PP = 0.5
"""Percentage points of accuracy below the baseline that other rounding does not explain."""

_ACCURACY = tuple(
    info
    for info in CATALOGUE
    if info.tier is Tier.DEVICE and info.unit == "%" and info.has_reference
)
_ACCURACY_RULES = frozenset(
    info.name for info in CATALOGUE if info.tasks or info.has_interval or info in _ACCURACY
) | {"top1_agreement"}
NOISY_METRICS = TIME_METRICS | {"speedup", "latency_ratio", "slowdown", "peak_memory"}
"""Metrics that two runs of the same thing do not agree in: being better proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Better:
    tier: Tier
    text: str


def improvement(
    case: Case, measured: Measured, comparison: Comparison, checks: Iterable[Check]
) -> Iterator[Check]:
    """Findings of a run against a comparable baseline; ``checks`` are those of the tolerances."""
    checks = tuple(checks)
    if demanded(case, Tier.DEVICE, SPEED_FOR_ACCURACY):
        yield from _speed_for_accuracy(case, measured, comparison, checks)
    yield from _stale(case, checks)


def _stale(case: Case, checks: Iterable[Check]) -> Iterator[Check]:
    """Values that lie as far on the good side of the baseline as the bound is on the bad side."""
    better = list(dict.fromkeys(found for check in checks if (found := _too_good(check))))
    for tier in Tier:
        own = [found.text for found in better if found.tier is tier]
        if not own or not demanded(case, tier, STALE_BASELINE):
            continue
        message = (
            f"better than the baseline by more than its band: {names(own)}; the baseline is stale, "
            "so that the gain could be lost again unnoticed, or something is measured wrongly"
        )
        if case.on_improvement == "fail":
            message += (
                f": accept it with `gate baseline update {case.spec_path} --select '{case.id}'`"
            )
        status = Status.FAIL if case.on_improvement == "fail" else Status.PASS
        yield rule(case, STALE_BASELINE, status, message, tier=tier)


def _too_good(check: Check) -> _Better | None:
    tolerance, measurement = check.tolerance, check.measurement
    if tolerance is None or tolerance.anchor is not Anchor.BASELINE:
        return None
    if measurement is None or measurement.value is None or tolerance.metric in NOISY_METRICS:
        return None
    if check.baseline is None or check.bound is None:
        return None
    lower = tolerance.op in (Op.LT, Op.LE)  # the grammar allows no bound on the other side
    band = abs(check.bound - check.baseline)
    gain = check.baseline - measurement.value if lower else measurement.value - check.baseline
    if not 0.0 < band < gain:
        return None
    unit = measurement.unit
    return _Better(
        tier=tolerance.tier,
        text=(
            f"{tolerance.tier}.{tolerance.metric} of {check.subject} "
            f"({shown(check.baseline, unit)} -> {shown(measurement.value, unit)})"
        ),
    )


def _speed_for_accuracy(
    case: Case, measured: Measured, comparison: Comparison, checks: Iterable[Check]
) -> Iterator[Check]:
    then = comparison.value(Tier.DEVICE, "speedup", "case")
    now = next((m.value for m in measured.of(Tier.DEVICE, "speedup")), None)
    if not then or not now or comparison.machine_differs:
        return
    losses = list(_losses(measured, comparison, checks))
    if now <= FASTER * then:
        message = f"speed-up {shown(then, 'x')} in the baseline, {shown(now, 'x')} now"
    elif not losses:
        message = f"faster than the baseline ({shown(then, 'x')} -> {shown(now, 'x')}), as accurate"
    else:
        message = (
            f"the speed-up grew from {shown(then, 'x')} to {shown(now, 'x')} while the accuracy fell "
            f"({names(losses)}): work is left out rather than done faster"
        )
        yield rule(case, SPEED_FOR_ACCURACY, Status.FAIL, message, tier=Tier.DEVICE)
        return
    yield rule(case, SPEED_FOR_ACCURACY, Status.PASS, message, tier=Tier.DEVICE)


def _losses(measured: Measured, comparison: Comparison, checks: Iterable[Check]) -> Iterator[str]:
    for info in _ACCURACY:
        then = comparison.value(Tier.DEVICE, info.name, "case")
        now = next((m.value for m in measured.of(Tier.DEVICE, info.name)), None)
        if then is None or now is None:
            continue
        loss = now - then if info.direction is Direction.LOWER else then - now
        if loss > LESS_ACCURATE_PP:
            yield f"{info.name} {shown(then, '%')} -> {shown(now, '%')}"
    failed = [c for c in checks if c.status is Status.FAIL and c.rule in _ACCURACY_RULES]
    for name in dict.fromkeys(f"{c.tier}.{c.rule}" for c in failed):
        yield f"{name} is out of its bound"
