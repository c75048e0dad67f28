"""A case's verdict split over its tiers, so that three pytest items or JUnit cases add up to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gate.core.case import Case
from gate.core.status import Status, Tier, worst
from gate.core.verdict import Check, Verdict

_CONCERN_ALL = frozenset({"baseline", "reference_pin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOutcome:
    """What one tier of one case came to."""

    tier: Tier
    status: Status
    """After an expected failure was taken into account."""
    checks: tuple[Check, ...]
    note: str = ""
    """Why the status is not simply the worst check's."""
    expected: bool = False
    """True where a check failed as the spec expects, so that the status is PASS nevertheless."""


def shown_tiers(case: Case) -> tuple[Tier, ...]:
    """Tiers that are reported one by one; a case that demands nothing still shows its verdict."""
    return case.tiers or (Tier.NUMERICAL,)


def tier_outcomes(verdict: Verdict, tiers: Sequence[Tier]) -> tuple[TierOutcome, ...]:
    """Split ``verdict`` over ``tiers``; the worst of the parts is never better than the whole.

    A check of a tier that is not among ``tiers`` (an implicit rule of a tier where nothing was
    demanded) is reported with the first of them rather than lost. A baseline that is broken and a
    reference that is off its pin are reported with every tier.
    """
    return tuple(_outcome(verdict, tier, tiers) for tier in tiers)


def _outcome(verdict: Verdict, tier: Tier, tiers: Sequence[Tier]) -> TierOutcome:
    if verdict.failure is not None:
        failure = verdict.failure
        note = f"{failure.kind} in stage {failure.stage}: {failure.message}"
        return TierOutcome(tier=tier, status=Status.ERROR, checks=(), note=note)
    if verdict.skipped is not None:
        return TierOutcome(tier=tier, status=Status.SKIPPED, checks=(), note=verdict.skipped)
    checks = tuple(
        check
        for check in verdict.checks
        if check.tier is tier
        or (tier is tiers[0] and check.tier not in tiers)
        or (check.rule in _CONCERN_ALL and _spoilt(check))
    )
    if not checks:
        note = "nothing was checked in this tier although the spec demands something of it"
        return TierOutcome(tier=tier, status=Status.ERROR, checks=(), note=note)
    status = worst(check.status for check in checks)
    if verdict.expected_failure is None:
        return TierOutcome(tier=tier, status=status, checks=checks)
    return _expected(verdict, tier, tiers, checks, status)


def _spoilt(check: Check) -> bool:
    """A baseline that cannot be used, or a reference that is not the accepted one, spoils every tier:
    one that is run alone must not pass for that."""
    return check.status in (Status.FAIL, Status.ERROR) and check.tolerance is None


def _expected(
    verdict: Verdict,
    tier: Tier,
    tiers: Sequence[Tier],
    checks: tuple[Check, ...],
    status: Status,
) -> TierOutcome:
    because = verdict.expected_failure
    if verdict.measured_status is not Status.FAIL and verdict.status is Status.FAIL:
        wanted = verdict.expected_metrics
        named = {
            c.tier for c in verdict.checks if wanted and c.tier in tiers and c.expected(wanted)
        }
        if not named or tier in named:
            note = f"expected to fail ({because}) but every check passed"
            return TierOutcome(tier=tier, status=Status.FAIL, checks=checks, note=note)
    elif status is Status.FAIL and not unexpected(verdict, checks):
        note = f"expected failure: {because}"
        return TierOutcome(tier=tier, status=Status.PASS, checks=checks, note=note, expected=True)
    return TierOutcome(tier=tier, status=status, checks=checks)


def unexpected(verdict: Verdict, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Failed checks that the spec's expected failure does not cover."""
    failed = (check for check in checks if check.status is Status.FAIL)
    return tuple(check for check in failed if not check.expected(verdict.expected_metrics))
