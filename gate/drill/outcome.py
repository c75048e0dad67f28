"""What became of one planted fault, and what all of them come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gate.core.layer import LayerRow
from gate.core.observation import Observation
from gate.core.result import CaseResult, Planted
from gate.core.status import Status, Tier
from gate.core.verdict import Check, Measurement, Verdict
from gate.drill.advice import Advice, Shift, advise, shifts_of
from gate.drill.base import Fault
from gate.drill.noise import Noise, infos_of
from gate.judge.measure import measure

STAGE_TIERS = {"layers": Tier.LAYERS, "device": Tier.DEVICE}
"""Tier that a run is in when it ends without an observation; else the numerical one."""
_BAD = (Status.FAIL, Status.ERROR)


class Finding(StrEnum):
    """What a drill says of one fault in one case."""

    CAUGHT = "caught"
    """The verdict is FAIL or ERROR."""
    SLIPPED = "slipped"
    """Any other verdict, an inconclusive one too."""
    EQUIVALENT = "equivalent"
    """It changes no output bit; or, of faults that are not in a file, nothing that was observed."""
    NOT_HERE = "not here"
    """The case has no place for it."""
    BROKEN = "broken"
    """The drill itself failed; proves nothing."""
    INTERRUPTED = "interrupted"


EFFECTIVE = (Finding.CAUGHT, Finding.SLIPPED)
"""What counts in the score."""

_BY_KIND = {
    "injection": Finding.BROKEN,
    "not-here": Finding.NOT_HERE,
    "equivalent": Finding.EQUIVALENT,
    "interrupted": Finding.INTERRUPTED,
    "forged": Finding.BROKEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """One rule or tolerance that noticed."""

    tier: Tier
    rule: str
    subject: str
    message: str
    tolerance: str = ""
    """As written in the spec; empty for rules that always hold."""

    @property
    def by(self) -> str:
        """``layers.sqnr >= 24 dB``, or ``numerical.reference_pin``."""
        return f"{self.tier}.{self.rule} {self.tolerance}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOutcome:
    """One fault in one case."""

    case_id: str
    fault: Fault
    finding: Finding
    reason: str = ""
    """Why the fault is not here, equivalent, or how the drill broke."""
    planted: Planted | None = None
    catches: tuple[Catch, ...] = ()
    """In the order of the verdict, the first failing check first."""
    named: str | None = None
    """``Verdict.first_bad_layer``."""
    rightly_named: bool | None = None
    """None where the fault sits in no one layer."""
    measured: tuple[Measurement, ...] = ()
    shifts: tuple[Shift, ...] = ()
    """The worst subject of every metric, that which tells the fault best first."""
    advice: Advice | None = None
    """For faults that slipped through."""
    status: Status | None = None
    """Of the verdict; None where there is none that counts."""
    seconds: float = 0.0

    @property
    def effective(self) -> bool:
        """Whether it counts in the score."""
        return self.finding in EFFECTIVE

    @property
    def in_expected_tier(self) -> bool:
        """Whether one of the tiers that ought to notice did."""
        return any(catch.tier in self.fault.tiers for catch in self.catches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Counts over outcomes."""

    caught: int = 0
    effective: int = 0
    named: int = 0
    """Caught or not, the verdict named the right layer."""
    with_layer: int = 0
    """Effective faults that sit in one layer."""
    equivalent: int = 0
    not_here: int = 0
    broken: int = 0
    interrupted: int = 0

    @property
    def percent(self) -> float | None:
        """100 caught / effective; None without an effective fault."""
        return 100.0 * self.caught / self.effective if self.effective else None

    @property
    def named_percent(self) -> float | None:
        """100 rightly named / those with a layer."""
        return 100.0 * self.named / self.with_layer if self.with_layer else None


def score(outcomes: Iterable[FaultOutcome]) -> Score:
    """Count outcomes."""
    found = list(outcomes)
    effective = [one for one in found if one.effective]

    def number(finding: Finding) -> int:
        return sum(one.finding is finding for one in found)

    return Score(
        caught=number(Finding.CAUGHT),
        effective=len(effective),
        named=sum(one.rightly_named is True for one in effective),
        with_layer=sum(one.rightly_named is not None for one in effective),
        equivalent=number(Finding.EQUIVALENT),
        not_here=number(Finding.NOT_HERE),
        broken=number(Finding.BROKEN),
        interrupted=number(Finding.INTERRUPTED),
    )


def score_by_family(outcomes: Sequence[FaultOutcome]) -> Mapping[str, Score]:
    """Scores family by family, in the order in which families appear."""
    families = dict.fromkeys(one.fault.family for one in outcomes)
    return {f: score(one for one in outcomes if one.fault.family == f) for f in families}


def outcome_of(
    fault: Fault,
    result: CaseResult,
    verdict: Verdict,
    *,
    healthy: Observation,
    noise: Noise | None = None,
    seconds: float = 0.0,
) -> FaultOutcome:
    """Say what became of a fault.

    Args:
        fault: what was planted.
        result: of the mutated run, under the case's own id.
        verdict: on it, by the case's own tolerances and its baseline.
        healthy: the observation of the same case without the fault.
        noise: of healthy repeats; without it, what any repeat is granted.
        seconds: wall time of the run.
    """
    given = FaultOutcome(
        case_id=result.case.id,
        fault=fault,
        finding=Finding.SLIPPED,
        planted=result.planted,
        seconds=seconds,
    )
    nothing = _nothing_planted(result)
    if nothing is not None:
        return replace(given, finding=nothing[0], reason=nothing[1])
    caught = verdict.status in _BAD
    given = replace(
        given,
        finding=Finding.CAUGHT if caught else Finding.SLIPPED,
        catches=tuple(_catches(verdict)),
        named=verdict.first_bad_layer,
        status=verdict.status,
    )
    observation, planted = result.observation, result.planted
    if observation is None or planted is None:
        return given  # it no longer runs
    # A broken file was seen to answer otherwise when it was planted: to miss that is to be blind.
    checked = fault.point in ("artifact", "reference", "runtime")
    if not caught and not checked and same(observation, healthy):
        reason = "planted, and every number that was observed is that of the healthy run"
        return replace(given, finding=Finding.EQUIVALENT, reason=reason)
    measured = tuple(measure(observation))
    known = noise or Noise(samples=healthy.samples_evaluated)
    shifts = shifts_of(measure(healthy), measured, known, infos_of(result.case))
    return replace(
        given,
        measured=measured,
        rightly_named=_rightly_named(planted, given.named, observation, healthy),
        shifts=shifts,
        advice=None if caught else advise(shifts),
    )


def _nothing_planted(result: CaseResult) -> tuple[Finding, str] | None:
    """Why a run says nothing about the gate; None where a fault was in place."""
    failure = result.failure
    if failure is not None and failure.kind in _BY_KIND:
        return _BY_KIND[failure.kind], failure.message
    if result.skipped is not None:
        return Finding.NOT_HERE, result.skipped
    if result.planted is None:
        what = f"{failure.kind} in stage {failure.stage}: {failure.message}" if failure else ""
        return Finding.BROKEN, f"the run ended before anything was planted: {what}".rstrip(": ")
    return None


def same(one: Observation, other: Observation) -> bool:
    """Whether two observations agree in everything but costs and the identities of files."""
    return _facts(one) == _facts(other)


def _facts(observation: Observation) -> Observation:
    return replace(
        observation,
        case_id="",
        calibration_digest=None,
        artifacts={},
        timing=None,
        resources=None,
        notes=(),
        stage_seconds={},
    )


def _catches(verdict: Verdict) -> Iterable[Catch]:
    if verdict.failure is not None:
        failure = verdict.failure
        yield Catch(
            tier=STAGE_TIERS.get(failure.stage, Tier.NUMERICAL),
            rule=f"run ({failure.kind})",
            subject=failure.stage,
            message=failure.message,
        )
    for check in verdict.checks:
        if check.status in _BAD:
            yield _catch(check)


def _catch(check: Check) -> Catch:
    return Catch(
        tier=check.tier,
        rule=check.rule,
        subject=check.subject,
        message=check.message,
        tolerance=check.tolerance.text if check.tolerance is not None else "",
    )


def _rightly_named(
    planted: Planted, named: str | None, observation: Observation, healthy: Observation
) -> bool | None:
    """Whether the verdict names the layer, one that was fused with it, one that the fault itself put
    into the model, or one that the fault's author says is as right (``Planted.also``); None where no
    one layer is at fault."""
    if planted.layer is None:
        return None
    if named is None:
        return False
    rows = {row.name: row for row in _rows(observation)}
    covered = rows[named].covers if named in rows else ()
    if {planted.layer, *planted.also} & {named, *covered}:
        return True
    return named in rows and named not in {row.name for row in _rows(healthy)}


def _rows(observation: Observation) -> tuple[LayerRow, ...]:
    return observation.layers.candidate if observation.layers is not None else ()
