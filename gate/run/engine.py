"""Runs a plan: every case in a fresh worker, some at a time, one result each, whatever happens."""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gate.core.case import Case, Plan
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.crashes import crashed_probe
from gate.run.ending import result_of
from gate.run.events import (
    CacheUsed,
    CaseFinished,
    CaseStarted,
    Event,
    Said,
    StageEntered,
    StageProgress,
    Waiting,
)
from gate.run.flips import take_over
from gate.run.job import ANSWER_FILE, JOB_FILE, CrashedProbe, Job, write_record
from gate.run.process import Cancel, Limits, Watch
from gate.run.settings import RunSettings
from gate.run.store import RunStore
from gate.spec.skips import skip_reason

POLL_SECONDS = 0.2
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
JOB_VARIABLES = frozenset(
    {
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "GH_TOKEN",
        "GITHUB_ENV",
        "GITHUB_OUTPUT",
        "GITHUB_PATH",
        "GITHUB_STATE",
        "GITHUB_STEP_SUMMARY",
        "GITHUB_TOKEN",
    }
)
"""Tokens of a GitHub job, and the files by which a step sets outputs and changes later steps."""


def run_plan(
    plan: Plan, *, settings: RunSettings, on_event: Callable[[Event], None] | None = None
) -> Iterator[CaseResult]:
    """Run the cases of ``plan`` and give their results in the order in which they end.

    Every planned case gives exactly one result, which is on disk before it is given. SIGINT and
    SIGTERM end the workers; cases that have no result then fail as ``interrupted``. A second signal
    does not wait. Closing the iterator early ends the workers too.

    Raises:
        InfrastructureError: the run folder cannot be written.
    """
    tell = on_event or (lambda _event: None)
    store = RunStore(
        settings.run_dir, plan.cases, not_applicable=plan.not_applicable, part=settings.part
    )
    run = _Run(plan.cases, settings, store)
    try:
        with _signals(run.cancel, wanted=settings.handle_signals):
            run.start()
            for item in run.items():
                if isinstance(item, CaseFinished):
                    store.save(item.result)
                    tell(item)
                    yield item.result
                else:
                    tell(item)
    finally:
        run.stop()
        store.close()


class _Run:
    """Threads that each watch one worker at a time, and the queue that they report to."""

    def __init__(self, cases: tuple[Case, ...], settings: RunSettings, store: RunStore) -> None:
        self.cancel = Cancel()
        self._cases = cases
        self._settings = settings
        self._store = store
        self._todo: queue.SimpleQueue[tuple[int, Case]] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin with the first cases."""
        for numbered in enumerate(self._cases):
            self._todo.put(numbered)
        count = max(1, min(self._settings.jobs, len(self._cases)))
        self._threads = [
            threading.Thread(target=self._work, name=f"gate-watch-{i}", daemon=True)
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def items(self) -> Iterator[Event]:
        """Events until every case has finished; an exception of a thread is raised here."""
        left = len(self._cases)
        while left:
            try:
                # Waiting with a time limit lets signal handlers run in between.
                item = self._events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            left -= isinstance(item, CaseFinished)
            yield item

    def stop(self) -> None:
        """End what still runs and wait for it."""
        while any(thread.is_alive() for thread in self._threads):
            if not self.cancel.insisted:
                self.cancel()
            for thread in self._threads:
                thread.join(POLL_SECONDS)

    def _work(self) -> None:
        try:
            while True:
                try:
                    index, case = self._todo.get_nowait()
                except queue.Empty:
                    return
                started = time.monotonic()
                result = self._result(index, case)
                self._events.put(CaseFinished(result=result, seconds=time.monotonic() - started))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
            self._events.put(error)

    def _result(self, index: int, case: Case) -> CaseResult:
        if self.cancel.asked:
            message = "interrupted before it began"
            failure = RunFailure(kind="interrupted", stage="start", message=message)
            return CaseResult(case=case, failure=failure)
        reason = skip_reason(case)
        if reason is not None:
            return CaseResult(case=case, skipped=reason)
        self._events.put(CaseStarted(case_id=case.id, index=index, total=len(self._cases)))
        return self._observe(case)

    def _observe(self, case: Case, crashed: tuple[CrashedProbe, ...] = ()) -> CaseResult:
        settings = self._settings
        work = self._store.make_work_dir(case.id)
        job = Job(
            case=case,
            nonce=secrets.token_hex(16),
            cache_dir=settings.cache_dir or work / "cache",
            cache_bytes=settings.cache_bytes,
            lock_dir=settings.lock_dir or settings.run_dir / "locks",
            jobs=settings.jobs,
            mutation=settings.mutations.get(case.id),
            baselines_dir=settings.baselines_dir,
            artifacts_dir=settings.artifacts_dir,
            accepted=settings.accepted.get(case.id),
            pictures=settings.pictures,
            reference_memory=settings.reference_memory,
            keep_candidates=settings.keep_candidates,
            given_candidates=settings.given_candidates,
            crashed_probes=crashed,
        )
        write_record(work / JOB_FILE, job)
        watch = Watch(
            [sys.executable, "-m", "gate.run.worker", str(work)],
            env=worker_environment(case.target.threads),
            log=self._store.log(case.id),
            limits=Limits(
                seconds=case.run.timeout_seconds,
                memory_bytes=case.run.memory_bytes,
                grace_seconds=settings.grace_seconds,
            ),
            cancel=self.cancel,
            on_message=lambda message: self._announce(case.id, message),
        )
        try:
            result = result_of(job, watch.run(), work / ANSWER_FILE)
            result = self._with_flips(result, job, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        crash = crashed_probe(result.failure)
        if crash is None or crash in crashed:
            return result
        # A side that crashes in a probe is a fact about it; what else there is to see is still wanted.
        return self._observe(case, (*crashed, crash))

    def _with_flips(self, result: CaseResult, job: Job, work: Path) -> CaseResult:
        """Store the flipped samples that the worker left; what is wrong with them is a note."""
        if result.observation is None:
            return result
        fault = take_over(work, job, self._settings.run_dir)
        if not fault:
            return result
        noted = replace(result.observation, notes=(*result.observation.notes, fault))
        return replace(result, observation=noted)

    def _announce(self, case_id: str, message: Mapping[str, Any]) -> None:
        match message:
            case {"stage": str(stage), "done": int(done), "total": int(total)}:
                event: Event = StageProgress(case_id=case_id, stage=stage, done=done, total=total)
            case {"stage": str(stage)}:
                event = StageEntered(case_id=case_id, stage=stage)
            case {"cache": str(kind), "hit": bool(hit)}:
                event = CacheUsed(case_id=case_id, kind=kind, hit=hit)
            case {"waiting": str(reason)}:
                event = Waiting(case_id=case_id, reason=reason)
            case {"said": str(text)}:
                event = Said(case_id=case_id, text=text)
            case _:
                return
        self._events.put(event)


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: threads limited, hashing fixed, nothing held back in buffers, and
    nothing by which it could give orders to the job that the gate runs in."""
    environment = {key: value for key, value in os.environ.items() if key not in JOB_VARIABLES}
    environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    environment.update(PYTHONHASHSEED="0", PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
    return environment


@contextmanager
def _signals(cancel: Cancel, *, wanted: bool) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``cancel`` for a while."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: cancel())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
