"""The localising process: ``python -m gate.run.localise_child WORK``, started by ``gate.run.localise``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.job import read_record, write_record
from gate.run.localise import ANSWER, JOB, Localised, LocaliseJob
from gate.run.opened import Material, described, material, prepared, sessions

REPRODUCE_SAMPLES = 4


def main(work: Path) -> int:
    """Do the job in a folder and write its answer beside it."""
    from gate.backends.base import BackendError
    from gate.data.base import DataError
    from gate.models.base import ModelError
    from gate.quantize.base import QuantizeError
    from gate.spec.entries import EntryError
    from gate.tiers.numerical import OutputError

    # What libraries print must not be taken for progress.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = read_record(work / JOB, LocaliseJob)

    def say(text: str) -> None:
        channel.write(f"{text}\n")
        channel.flush()

    try:
        answer = _localised(job, work, say)
    except (BackendError, DataError, EntryError, ModelError, OutputError, QuantizeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    write_record(work / ANSWER, answer)
    return 0


def _localised(job: LocaliseJob, work: Path, say: Callable[[str], None]) -> Localised:
    from gate.run.choose import settled
    from gate.run.fragment import NoRankingError, sensitivity

    cache = Cache(job.cache_dir if job.cache_dir is not None else work / "cache")
    found = material(job.case)
    case, _ = settled(
        job.case,
        found.native,
        evaluation=found.evaluation,
        calibration=found.calibration,
        cache=cache,
        announcer=Announcer(None),
        work=work,
    )
    job = replace(job, case=case)
    folder, why = None, ""
    if job.layer is not None and job.save is not None:
        folder, why = _reproduced(job, found, cache, work)
    if job.budget_seconds <= 0.0:
        return Localised(folder=folder, why_no_folder=why)
    try:
        with tempfile.TemporaryDirectory(prefix="gate-search-") as bench:
            ranked = sensitivity(
                job.case,
                found,
                cache=cache,
                work=work,
                bench=Path(bench),
                budget_seconds=job.budget_seconds,
                say=say,
            )
    except NoRankingError as error:
        return Localised(folder=folder, why_no_folder=why, why_no_ranking=str(error))
    return Localised(folder=folder, why_no_folder=why, sensitivity=ranked)


def _reproduced(
    job: LocaliseJob, found: Material, cache: Cache, work: Path
) -> tuple[Path | None, str]:
    from gate import plugins
    from gate.backends.base import Backend
    from gate.tiers.reproduce import ReproduceError, reproduce

    case = job.case
    backend: Backend = plugins.load("backends", case.target.backend)
    versions = [f"{n} {v}" for n, v in sorted(backend.environment(case.target).versions.items())]
    made = prepared(case, found, cache=cache, work=work)
    sample = next(found.evaluation.batches(REPRODUCE_SAMPLES, limit=REPRODUCE_SAMPLES)).inputs
    try:
        with sessions(case, made) as (reference, candidate):
            done = reproduce(
                reference,
                candidate,
                sample=sample,
                layer=str(job.layer),
                folder=Path(str(job.save)),
                about=described(case, versions),
            )
    except ReproduceError as error:
        return None, str(error)
    return done.folder, ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
