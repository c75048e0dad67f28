"""An observation that is accepted, as a baseline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gate import __version__
from gate.baseline.git import GitError, git
from gate.core.baseline import Baseline, BaselineValue, Provenance
from gate.core.case import Case
from gate.core.observation import Observation
from gate.judge.accuracy import flipped
from gate.judge.comparison import REFERENCE_SUBJECT
from gate.judge.contract import baseline_layer
from gate.judge.measure import Measured, measure

UNKNOWN = "unknown"
_AGAINST_THE_BASELINE = frozenset({"slowdown"})
"""Metrics that are differences from a baseline: one that is made now has none."""


def make_baseline(case: Case, observation: Observation, provenance: Provenance) -> Baseline:
    """Keep every measurement that has a value, demanded or not, so that a tolerance that is added
    later has something to count from; ``bool`` metrics need no memory."""
    seen = observation.layers
    return Baseline(
        case_id=case.id,
        environment=observation.environment,
        spec_digest=observation.spec_digest,
        data_digest=observation.data_digest,
        artifacts=dict(observation.artifacts),
        pin=observation.pin,
        values=tuple(_values(measure(observation))),
        layers=tuple(baseline_layer(row) for row in seen.candidate) if seen is not None else (),
        provenance=provenance,
        flips=flipped(observation),
        comparability=case.comparability,
        scoring=case.scoring,
    )


def provenance_of(reason: str, folder: Path) -> Provenance:
    """Who accepts, when, and at which commit (``+dirty`` where files are changed); ``unknown``
    outside a git work tree."""
    commit = _told(folder, "rev-parse", "HEAD")
    if commit and _told(folder, "status", "--porcelain", "--untracked-files=no"):
        commit += "+dirty"
    author = os.environ.get("GIT_AUTHOR_NAME") or _told(folder, "config", "user.name")
    return Provenance(
        reason=reason,
        commit=commit or UNKNOWN,
        author=author or UNKNOWN,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        gate_version=__version__,
    )


def _values(measured: Measured) -> Iterator[BaselineValue]:
    for measurement in measured:
        if measurement.metric in _AGAINST_THE_BASELINE:
            continue
        if measurement.value is not None and measurement.unit != "bool":
            yield BaselineValue(
                tier=measurement.tier,
                metric=measurement.metric,
                subject=measurement.subject,
                value=measurement.value,
                unit=measurement.unit,
            )
    for (tier, metric), value in measured.reference.items():
        yield BaselineValue(
            tier=tier,
            metric=metric,
            subject=REFERENCE_SUBJECT,
            value=value,
            unit=measured.of(tier, metric)[0].unit,
        )


def _told(folder: Path, *arguments: str) -> str:
    try:
        return git(folder, *arguments).strip()
    except GitError:
        return ""  # no git, or no repository: said as "unknown" in the baseline
