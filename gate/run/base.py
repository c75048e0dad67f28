"""The base of a latency comparison: the artifact behind the baseline, where it can still be opened."""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.artifact import ALONE, Artifact
from gate.core.baseline import Baseline, BaselineFound, BaselineLookup
from gate.core.environment import Environment
from gate.judge.latency import unchanged, wants_base
from gate.run.artifacts import ArtifactStore
from gate.run.cache import Cache
from gate.run.job import Job
from gate.run.prepare import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What is timed beside the candidate, or why nothing is."""

    artifact: Artifact | None
    note: str = ""
    same: bool = False
    """Whether the candidate is the baseline's own file, and nothing about its runs changed either."""


def find_base(
    job: Job,
    prepared: Prepared,
    lookup: BaselineLookup | None,
    cache: Cache,
    *,
    environment: Environment,
) -> Base:
    """The baseline's candidate, from the kept artifacts or else from the cache.

    A candidate that is the same file is not timed against itself, except in a drill, where the
    runtime may be what differs.
    """
    if not wants_base(job.case):
        return Base(artifact=None)
    if not isinstance(lookup, BaselineFound):
        return Base(artifact=None, note="there is no baseline to compare with")
    baseline = lookup.baseline
    sha256 = baseline.artifacts.get("candidate", "")
    if sha256 == prepared.artifact.sha256:
        return _same_file(job, prepared, same=unchanged(job.case, baseline, environment, sha256))
    found: Artifact | str | None = "it is not kept here"
    if job.artifacts_dir is not None:
        found = ArtifactStore(job.artifacts_dir).find(sha256)
    why = found if isinstance(found, str) else ""
    artifact = cache.artifact(sha256) if isinstance(found, str) else found
    if artifact is None:
        return Base(artifact=None, note=f"the baseline's artifact {sha256[:12]}: {why}")
    return _fits(artifact, baseline, prepared)


def _same_file(job: Job, prepared: Prepared, *, same: bool) -> Base:
    if job.mutation is not None:
        return Base(artifact=prepared.artifact)
    note = "the candidate is the same file"
    if not same:
        note += ", and versions, threads or the spec changed"
    return Base(artifact=None, note=note, same=same)


def _fits(artifact: Artifact, baseline: Baseline, prepared: Prepared) -> Base:
    """The artifact, if it can be opened as the candidate is."""
    if artifact.format is not prepared.artifact.format:
        note = f"the baseline's artifact is {artifact.format}, not {prepared.artifact.format}"
        return Base(artifact=None, note=note)
    # A state is restored around the float module; files of some formats stand alone.
    if (
        artifact.format not in ALONE
        and baseline.artifacts.get("reference") != prepared.reference.sha256
    ):
        return Base(artifact=None, note="the baseline's artifact is of another float model")
    return Base(artifact=artifact)
