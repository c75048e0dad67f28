"""Cases that several processes want: whoever is first runs one, the others read its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gate.core.case import Case, Plan
from gate.core.result import CaseResult
from gate.run.engine import run_plan
from gate.run.job import read_record, write_record
from gate.run.locks import FileLock
from gate.run.settings import RunSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRuns:
    """Results of one session in a folder that all of its processes see."""

    folder: Path
    cache_dir: Path | None
    baselines_dir: Path | None = None
    """With ``artifacts_dir``, as in ``RunSettings``."""
    artifacts_dir: Path | None = None
    processes: int = 1
    """How many may run cases at the same time; timing still has the machine to itself."""

    def result(self, case: Case) -> CaseResult:
        """Run ``case`` where nobody has yet; wait where somebody does.

        Raises:
            InfrastructureError: the folder cannot be written.
        """
        path = self._path(case.id)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
        try:
            if not path.exists():
                write_record(path, self._run(case))
        finally:
            lock.release()
        return read_record(path, CaseResult)

    def finished(self, case_ids: Sequence[str]) -> list[CaseResult]:
        """Results that there are, in the order of ``case_ids``."""
        paths = [self._path(case_id) for case_id in case_ids]
        return [read_record(path, CaseResult) for path in paths if path.exists()]

    def _run(self, case: Case) -> CaseResult:
        settings = RunSettings(
            run_dir=self._path(case.id).with_suffix(".run"),
            cache_dir=self.cache_dir,
            jobs=self.processes,
            lock_dir=self.folder / "timing",
            handle_signals=False,
            baselines_dir=self.baselines_dir,
            artifacts_dir=self.artifacts_dir,
        )
        (result,) = run_plan(Plan(cases=(case,)), settings=settings)
        return result

    def _path(self, case_id: str) -> Path:
        # The suffix is added to the whole name: a case's own dots stay.
        return self.folder / f"{quote(case_id, safe='@')}.json"
