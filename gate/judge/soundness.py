"""Rules that always hold: everything planned was observed, complete and finite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gate.core.case import Case
from gate.core.observation import OBSERVATION_SCHEMA, Observation, TimingObserved
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.numerical import missing_samples, output_fault
from gate.judge.wording import count, shown

CONVERSION_LIMIT_PERCENT = 0.01
"""Relative MSE beyond which an export computes another function; rounding stays near 1e-10 %."""


def home(case: Case, tier: Tier) -> Tier:
    """The tier that a rule is shown under: its own, or the case's first where that is not demanded."""
    return tier if tier in case.tiers or not case.tiers else case.tiers[0]


def demanded(case: Case, tier: Tier, name: str) -> bool:
    """Whether a finding (``gate.core.findings``) is demanded: no override drops it."""
    return f"{tier}.{name}" not in case.dropped


def soundness(case: Case, observation: Observation) -> Iterator[Check]:
    """Every rule, each with at least one check where it applies."""
    yield from _identity(case, observation)
    yield from _coverage(case, observation)
    yield from _outputs(case, observation)
    yield from _conversion(case, observation)
    yield from _finite_layers(case, observation)


def _identity(case: Case, observation: Observation) -> Iterator[Check]:
    if not case.tolerances:
        yield rule(case, "tolerances", Status.ERROR, "the spec demands nothing of this case")
    if observation.case_id != case.id:
        message = f"the observation is of {observation.case_id}, the case is {case.id}"
        yield rule(case, "identity", Status.ERROR, message)
    if observation.schema != OBSERVATION_SCHEMA:
        message = f"observation schema {observation.schema}, this gate reads {OBSERVATION_SCHEMA}"
        yield rule(case, "identity", Status.ERROR, message)


def _coverage(case: Case, observation: Observation) -> Iterator[Check]:
    missing = missing_samples(observation)
    yield rule(
        case,
        "coverage",
        Status.FAIL if missing else Status.PASS,
        missing or f"all {count(observation.samples_planned, 'sample')} evaluated",
    )
    seen = observation.layers
    wanted = min(case.run.layer_samples, observation.samples_planned)
    if seen is not None and Tier.LAYERS in case.tiers and seen.samples < wanted:
        message = f"the layers were seen on {seen.samples} of {wanted} samples"
        yield rule(case, "coverage", Status.FAIL, message, tier=Tier.LAYERS, subject="layers")
    timed = observation.timing
    if timed is not None and Tier.DEVICE in case.tiers:
        rounds = _fewest_rounds(timed)
        if rounds < case.run.timing_rounds:
            message = f"{rounds} of {case.run.timing_rounds} timing rounds were taken"
            yield rule(case, "coverage", Status.FAIL, message, tier=Tier.DEVICE, subject="timing")


def _fewest_rounds(timed: TimingObserved) -> int:
    """Rounds of the launch that has the fewest."""
    launches = Counter(timed.launch).values()
    runs = min(len(timed.candidate_wall_ns), len(timed.reference_wall_ns), *launches)
    return runs // max(timed.runs_per_round, 1)


def _outputs(case: Case, observation: Observation) -> Iterator[Check]:
    faulty = False
    for name in observation.missing_outputs:
        faulty = True
        message = "the candidate has no such output"
        yield rule(case, "outputs", Status.FAIL, message, subject=name)
    for name, output in observation.outputs.items():
        sums = output.errors
        fault = output_fault(output, observation.samples_planned)
        faults = [fault] if fault else []
        for side, number in (
            ("candidate", sums.nonfinite_candidate),
            ("reference", sums.nonfinite_reference),
        ):
            if number:
                faults.append(f"{count(number, 'element')} of the {side} not finite")
        if faults:
            faulty = True
            yield rule(case, "outputs", Status.FAIL, "; ".join(faults), subject=name)
    if faulty:
        return
    if observation.outputs:
        message = f"{count(len(observation.outputs), 'output')} complete and finite"
        yield rule(case, "outputs", Status.PASS, message)
    elif Tier.NUMERICAL in case.tiers:
        yield rule(case, "outputs", Status.FAIL, "no output was observed")
    else:
        yield rule(case, "outputs", Status.SKIPPED, "the numerical tier is not demanded")


def _conversion(case: Case, observation: Observation) -> Iterator[Check]:
    error = observation.conversion_relative_mse_percent
    if error is None:
        return
    # Written so that NaN fails.
    good = error <= CONVERSION_LIMIT_PERCENT
    message = (
        f"relative MSE {shown(error, '%')} between the model and its export, "
        f"at most {shown(CONVERSION_LIMIT_PERCENT, '%')} is rounding"
    )
    if not good:
        message = f"the export changed the function: {message}"
    yield rule(case, "conversion", Status.PASS if good else Status.FAIL, message)


def _finite_layers(case: Case, observation: Observation) -> Iterator[Check]:
    for match in observation.layers.matches if observation.layers else ():
        if match.errors is not None and match.errors.nonfinite_candidate:
            message = f"{count(match.errors.nonfinite_candidate, 'element')} not finite"
            yield rule(
                case,
                "finite_layers",
                Status.FAIL,
                message,
                tier=Tier.LAYERS,
                subject=match.candidate,
            )


def rule(
    case: Case,
    name: str,
    status: Status,
    message: str,
    *,
    tier: Tier = Tier.NUMERICAL,
    subject: str = "case",
) -> Check:
    """Build the check of an implicit rule."""
    return Check(tier=home(case, tier), rule=name, subject=subject, status=status, message=message)
