"""When a bound on an accuracy drop is a statement beyond the evaluation set. Imports no NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gate.core.task import CUSTOM, DROP
from gate.core.tolerance import Anchor, Mode, Op, Tolerance
from gate.metrics.catalogue import BY_NAME
from gate.metrics.sample_size import (
    MIN_CLUSTERS,
    MIN_IMAGES,
    PRIOR_PSI,
    samples_needed,
    samples_without_flips,
)

_COUNTED = frozenset({"top1_drop", "top5_drop"})
_LEAST_UNITS = {"wer_rise": MIN_CLUSTERS, "cer_rise": MIN_CLUSTERS, "auc_drop": 60, "eer_rise": 100}
"""Samples below which a certificate is refused, where that is not ``MIN_IMAGES``: 30 of each label,
two of 50 identities."""


def may_certify(tolerance: Tolerance) -> bool:
    """Whether a bound has a meaning beyond the evaluation set: a number of its own, above zero."""
    info = BY_NAME.get((tolerance.tier, tolerance.metric))
    own = tolerance.metric.startswith(CUSTOM) and tolerance.metric.endswith(DROP)
    return (
        (own or (info is not None and info.has_interval))
        and tolerance.anchor is Anchor.ABSOLUTE
        and tolerance.op in (Op.LT, Op.LE)
        and 0.0 < tolerance.value < (100.0 if _points(tolerance) else math.inf)
    )


def counted(tolerance: Tolerance) -> bool:
    """Whether the metric counts samples that are right or wrong, so that it can be said before a run
    how many a certificate takes."""
    return tolerance.metric in _COUNTED


def certifies(tolerance: Tolerance, samples: int) -> bool:
    """Whether a bound is on the accuracy in general (``certify``), not on this set as it is (``exact``).

    ``auto`` decides by what is known before the run: the bound, and the number of samples that would
    certify it with 90 % power, were there no true drop and 5 % of flips. The measured share of flips
    plays no part: by it, a candidate with more flips would be judged more leniently. An image or an
    utterance counts as a sample of metrics that are no counts.
    """
    if not may_certify(tolerance) or tolerance.mode is Mode.EXACT:
        return False
    if tolerance.mode is Mode.CERTIFY:
        return True
    if not _points(tolerance):
        return (
            False  # nobody knows before a run how much such a metric varies from sample to sample
        )
    needed = samples_needed(tolerance.value / 100.0, PRIOR_PSI[-1])
    return needed is not None and samples >= needed


def hopeless(tolerances: Iterable[Tolerance], samples: int) -> list[str]:
    """A line for every certificate that ``samples`` samples can never give, flips or none: to be said
    before a run rather than after it."""
    lines = []
    for tolerance in tolerances:
        if tolerance.mode is not Mode.CERTIFY or not may_certify(tolerance):
            continue
        if not counted(tolerance):
            least = _LEAST_UNITS.get(tolerance.metric, MIN_IMAGES)
            if samples < least:
                lines.append(
                    f"{tolerance.metric} {tolerance.text} cannot be certified on {samples} samples: it"
                    f" takes {least} at least"
                )
            continue
        least = samples_without_flips(tolerance.value / 100.0)
        if samples < least:
            lines.append(
                f"{tolerance.metric} {tolerance.text} cannot be certified on {samples} samples: it takes"
                f" {least} without a single flip, and more with some"
            )
    return lines


def _points(tolerance: Tolerance) -> bool:
    info = BY_NAME.get((tolerance.tier, tolerance.metric))
    return info is not None and info.unit == "pp"
