"""Accuracy drops: what a bound on one is compared with, and which samples flipped since the baseline."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gate.core.baseline import Baseline
from gate.core.flipped import Flipped, FlipsCompared
from gate.core.observation import Observation, TaskObserved
from gate.core.status import Status, Tier
from gate.core.tolerance import Tolerance
from gate.core.verdict import Measurement
from gate.judge.measure import Key, Measured
from gate.judge.wording import count, names, shown
from gate.metrics.intervals import DropInterval
from gate.metrics.paired import PairedCounts, PairedVerdict, verdict
from gate.metrics.sample_size import ALPHA_FAIL, ALPHA_PASS, POWER, quantile

NEW_FLIPS = "new_flips"
_INDICES_SHOWN = 10


def certified(
    measurement: Measurement, observed: PairedCounts, tolerance: Tolerance
) -> tuple[Status, str, Measurement]:
    """Status, what is said beside the figures, and the measurement with the interval that decided."""
    found = verdict(observed, tolerance.value / 100.0)
    low, high = 100.0 * found.low, 100.0 * found.high
    decided = replace(measurement, low=low, high=high)
    match found.status:
        case Status.PASS:
            said = (
                f"(certified: below {_pp(high)} with {100 * (1.0 - ALPHA_PASS):.0f} % confidence)"
            )
        case Status.FAIL:
            said = f"(certified: above {_pp(low)} with {100 * (1.0 - ALPHA_FAIL):.0f} % confidence)"
        case _:
            said = f"(neither below nor above is shown): {_more(found, observed)}"
    return found.status, said, decided


def certified_drop(
    measurement: Measurement, found: DropInterval, tolerance: Tolerance
) -> tuple[Status, str, Measurement]:
    """As :func:`certified`, of a difference that counts no samples: mAP, word errors ..."""
    status, unit = found.verdict(tolerance.value), measurement.unit
    low, high = (shown(end, unit, digits=3) for end in (found.low, found.high))
    if status is Status.PASS:
        said = f"(certified: below {high} with {100 * (1.0 - ALPHA_PASS):.0f} % confidence)"
    elif status is Status.FAIL:
        said = f"(certified: above {low} with {100 * (1.0 - ALPHA_FAIL):.0f} % confidence)"
    else:
        said = (
            f"(neither below nor above is shown): {found.refused or _more_units(found, tolerance)}"
        )
    if not math.isfinite(found.standard_error):
        return status, said, measurement
    return status, said, replace(measurement, low=found.low, high=found.high)


def _more_units(found: DropInterval, tolerance: Tolerance) -> str:
    """How many more images or utterances would decide, if they vary as these do."""
    away = abs(tolerance.value - found.drop)
    if away == 0.0:
        return "it lies on the bound: no number of samples would decide"
    alpha = ALPHA_PASS if found.drop < tolerance.value else ALPHA_FAIL
    wanted = (quantile(1.0 - alpha) + quantile(POWER)) * found.standard_error / away
    more = math.ceil(found.units * wanted**2) - found.units
    return f"about {count(max(1, more), 'more sample')} needed for {100 * POWER:.0f} % power"


def exactly(samples: int) -> str:
    """What is said beside the figures where the set is taken as it is; the interval stands beside
    the value."""
    return f"(exact, on these {count(samples, 'sample')})"


def flipped(observation: Observation) -> dict[str, Flipped]:
    """``top1`` and ``top5`` -> the samples that flipped; empty where no labels were observed or a
    result is missing."""
    task = observation.task
    if task is None:
        return {}
    found = {}
    for metric, reference, candidate in _rankings(task):
        if reference is None or candidate is None:
            continue
        if not len(reference) == len(candidate) == observation.samples_planned:
            continue
        right, now = _bits(reference), _bits(candidate)
        found[metric] = Flipped(
            lost=tuple(np.flatnonzero(right & ~now).tolist()),
            gained=tuple(np.flatnonzero(~right & now).tolist()),
        )
    return found


def compare_flips(observation: Observation, baseline: Baseline | None) -> tuple[FlipsCompared, ...]:
    """Flips of this run beside those of a baseline that can be compared with it."""
    accepted = baseline.flips if baseline is not None else {}
    return tuple(
        FlipsCompared(metric=metric, now=now, accepted=accepted.get(metric))
        for metric, now in flipped(observation).items()
    )


def flips_text(flips: FlipsCompared) -> str:
    """Count the flips and name those that are new.

    >>> now, then = Flipped(lost=(3, 17, 301), gained=(5,)), Flipped(lost=(3,), gained=(5,))
    >>> flips_text(FlipsCompared(metric="top1", now=now, accepted=then))
    '3 right to wrong (1 as in the baseline, 2 new: 17, 301); 1 wrong to right'
    """
    if not flips.now.lost and not flips.now.gained:
        return "no sample flipped"
    lost = f"{len(flips.now.lost)} right to wrong"
    if flips.accepted is not None:
        known = len(flips.now.lost) - len(flips.new)
        new = f"{len(flips.new)} new{f': {_indices(flips.new)}' if flips.new else ''}"
        lost += f" ({known} as in the baseline, {new})"
    elif flips.now.lost:
        lost += f" ({_indices(flips.now.lost)})"
    return f"{lost}; {len(flips.now.gained)} wrong to right"


def new_flips_note(flips: FlipsCompared) -> str:
    """A line for the verdict where samples were lost since the baseline; empty where none was."""
    if not flips.new:
        return ""
    ranking = flips.metric.replace("top", "top-")
    return (
        f"{ranking}: {count(len(flips.new), 'sample')} right in the baseline's run and wrong now:"
        f" {_indices(flips.new)}"
    )


def with_flips(measured: Measured, flips: tuple[FlipsCompared, ...], *, compared: bool) -> Measured:
    """The same measurements with the flips behind each drop, and the number of new ones.

    ``compared`` says whether there is a baseline of the same data at all.
    """
    values = measured.values
    changed: dict[Key, tuple[Measurement, ...]] = {}
    for entry in flips:
        text = flips_text(entry)
        key = (Tier.DEVICE, f"{entry.metric}_drop")
        drops = values.get(key, ())
        changed[key] = tuple(m if m.value is None else replace(m, detail=text) for m in drops)
        if entry.metric == "top1" and compared:
            key = (Tier.DEVICE, NEW_FLIPS)
            changed[key] = tuple(_counted(m, entry, text) for m in values.get(key, ()))
    return replace(measured, values=values.but(changed))


def _counted(measurement: Measurement, flips: FlipsCompared, text: str) -> Measurement:
    if flips.accepted is None:
        why = "the baseline holds no list of flips; update it"
        return replace(measurement, value=None, why_none=why)
    return replace(measurement, value=float(len(flips.new)), why_none="", detail=text)


def _more(found: PairedVerdict, observed: PairedCounts) -> str:
    if found.needed is None:
        return "so close to the bound that no number of samples would decide"
    more = found.needed - observed.samples
    return f"{count(max(1, more), 'more sample')} needed for {100 * POWER:.0f} % power"


def _pp(value: float) -> str:
    return shown(value, "pp", digits=3)


def _indices(indices: tuple[int, ...]) -> str:
    return names([str(index) for index in indices], limit=_INDICES_SHOWN)


def _rankings(task: TaskObserved) -> tuple[tuple[str, str | None, str | None], ...]:
    return (
        ("top1", task.reference_top1, task.candidate_top1),
        ("top5", task.reference_top5, task.candidate_top5),
    )


def _bits(characters: str) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = np.frombuffer(characters.encode("ascii"), np.uint8) == ord("1")
    return right
