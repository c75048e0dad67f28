"""When a bound on an accuracy drop is a statement beyond the evaluation set. Imports no NumPy."""

from __future__ import annotations

from collections.abc import Iterable

from gate.core.tolerance import Anchor, Mode, Op, Tolerance
from gate.metrics.catalogue import BY_NAME
from gate.metrics.sample_size import PRIOR_PSI, samples_needed, samples_without_flips


def may_certify(tolerance: Tolerance) -> bool:
    """Whether a bound has a meaning beyond the evaluation set: a number of its own, above zero."""
    info = BY_NAME.get((tolerance.tier, tolerance.metric))
    return (
        info is not None
        and info.has_interval
        and tolerance.anchor is Anchor.ABSOLUTE
        and tolerance.op in (Op.LT, Op.LE)
        and 0.0 < tolerance.value < 100.0
    )


def certifies(tolerance: Tolerance, samples: int) -> bool:
    """Whether a bound is on the accuracy in general (``certify``), not on this set as it is (``exact``).

    ``auto`` decides by what is known before the run: the bound, and the number of samples that would
    certify it with 90 % power, were there no true drop and 5 % of flips. The measured share of flips
    plays no part: by it, a candidate with more flips would be judged more leniently.
    """
    if not may_certify(tolerance) or tolerance.mode is Mode.EXACT:
        return False
    if tolerance.mode is Mode.CERTIFY:
        return True
    needed = samples_needed(tolerance.value / 100.0, PRIOR_PSI[-1])
    return needed is not None and samples >= needed


def hopeless(tolerances: Iterable[Tolerance], samples: int) -> list[str]:
    """A line for every certificate that ``samples`` samples can never give, flips or none: to be said
    before a run rather than after it."""
    lines = []
    for tolerance in tolerances:
        if tolerance.mode is not Mode.CERTIFY or not may_certify(tolerance):
            continue
        least = samples_without_flips(tolerance.value / 100.0)
        if samples < least:
            lines.append(
                f"{tolerance.metric} {tolerance.text} cannot be certified on {samples} samples: it takes"
                f" {least} without a single flip, and more with some"
            )
    return lines
