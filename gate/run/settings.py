"""How a plan is run: none of it changes what is measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate.core.baseline import Baseline
from gate.run.mutation import Mutation
from gate.run.shards import Part

CACHE_BYTES = 5 * 1000**3
_OTHER_CI = ("TF_BUILD", "JENKINS_URL", "TEAMCITY_VERSION")
"""Set by systems that do not set ``CI``."""


class InfrastructureError(Exception):
    """The surroundings failed (a full disk, an unwritable folder); the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of one run; ``run_dir`` comes from ``gate.run.store.create_run``."""

    run_dir: Path
    cache_dir: Path | None
    """None keeps nothing between cases and runs."""
    cache_bytes: int = CACHE_BYTES
    jobs: int = 1
    lock_dir: Path | None = None
    """Where workers arrange who may time, if those of other runs take part; None: of this run alone."""
    handle_signals: bool = True
    """Take SIGINT and SIGTERM over while the plan runs (in the main thread only)."""
    grace_seconds: float = 3.0
    """Between asking an interrupted worker to end and killing it."""
    mutations: Mapping[str, Mutation] = field(default_factory=dict)
    """Case id -> what a drill changes in its run."""
    baselines_dir: Path | None = None
    """Baselines whose artifacts are timed beside the candidates; None: those of no baseline."""
    artifacts_dir: Path | None = None
    """Where accepted artifacts are kept; None: nowhere but in the cache."""
    accepted: Mapping[str, Baseline] = field(default_factory=dict)
    """Case id -> the baseline to be compared with in place of one in ``baselines_dir``."""
    pictures: bool = True
    """Keep small pictures of samples whose answer flips, for reports."""
    reference_memory: bool = False
    """Also measure the memory of each reference, in a process of its own."""
    keep_candidates: Path | None = None
    """Folder to copy every candidate to, for another stack of versions to run."""
    given_candidates: Path | None = None
    """Folder of such copies, run in place of candidates made here."""
    part: Part | None = None
    """Set where the plan is one shard of a whole, which is stored with the run."""


def in_ci() -> bool:
    """Whether this runs in continuous integration: what ``CI`` says, else what such systems set."""
    told = os.environ.get("CI")
    if told is not None:
        return told.strip().lower() not in {"", "0", "false", "no", "off"}
    return any(os.environ.get(name) for name in _OTHER_CI)


def default_cache_dir(root: Path) -> Path:
    """``$GATE_CACHE``, else ``.gate/cache`` of the project."""
    named = os.environ.get("GATE_CACHE")
    return Path(named).expanduser().absolute() if named else root / ".gate" / "cache"
