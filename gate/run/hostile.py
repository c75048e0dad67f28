"""The hostile probes of a case in its worker."""

from __future__ import annotations

from collections.abc import Callable

from gate.backends.base import Session
from gate.core.case import Case
from gate.core.probes import ProbeObserved
from gate.data.base import SampleSet
from gate.run.announce import Announcer
from gate.run.crashes import STAGE, stage_of
from gate.run.job import CrashedProbe
from gate.tiers.probe_inputs import Material, ranges_of
from gate.tiers.probes import RANGE_SAMPLES, SAMPLES, Sides, observe_probes


def run_probes(
    case: Case,
    *,
    reference: Callable[[], Session],
    candidate: Session,
    evaluation: SampleSet,
    calibration: SampleSet | None,
    announcer: Announcer,
    crashed: tuple[CrashedProbe, ...],
) -> tuple[ProbeObserved, ...]:
    """Run the probes that the case asks for, in order; none is an empty tuple."""
    if not case.probes:
        return ()
    announcer.enter(STAGE)
    ranged = calibration if calibration is not None else evaluation
    material = Material(
        samples=next(evaluation.batches(SAMPLES, limit=SAMPLES)).inputs,
        ranges=ranges_of(
            [batch.inputs for batch in ranged.batches(case.run.batch, limit=RANGE_SAMPLES)]
        ),
        inputs=case.model.inputs,
        seed=case.run.seed,
    )
    sides = Sides(
        reference=reference,
        candidate=candidate,
        batch=case.run.batch,
        enter=lambda probe, side: announcer.enter(stage_of(probe, side)),
        crashed={(one.probe, one.side): one.message for one in crashed},
    )
    found = tuple(observe_probes([probe.name for probe in case.probes], material, sides))
    announcer.enter(STAGE)
    return found
