"""The layers tier beside the numerical one, where a processor would idle and the runtime allows it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from gate.backends.base import Backend, ConcurrentBackend, Session
from gate.core.case import Case
from gate.data.base import Batch, SampleSet
from gate.run.job import Job
from gate.run.reference import LazySession
from gate.tiers.layers import TABLE_BATCH, LayersSeen, observe_layers

Take = Callable[[], LayersSeen]


@contextmanager
def beside(take: Take, *, at_once: bool) -> Iterator[Take]:
    """A function that gives what ``take`` returns or raises.

    ``at_once`` starts it in a thread of its own and lets the function wait for it; otherwise it runs
    when it is asked for. The block does not end before the thread has.
    """
    if not at_once:
        yield take
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="layers") as pool:
        yield pool.submit(take).result


def room_beside(job: Job, *backends: Backend) -> bool:
    """Whether every one of ``backends`` can run two models at once, and there are processors for it
    while as many other cases run as may.

    A drill plants its faults into one model after the other, so it takes one tier after the other.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return (
        job.mutation is None
        and all(isinstance(backend, ConcurrentBackend) for backend in backends)
        and 2 * job.case.target.threads * job.jobs <= processors
    )


def take_layers(
    case: Case,
    reference: LazySession,
    candidate: Session,
    samples: SampleSet,
    *,
    progress: Callable[[int], Callable[[int], None]],
) -> LayersSeen:
    """The layers tier on the first ``run.layer_samples``; ``progress`` is asked for a tick of so many."""
    limit = min(case.run.layer_samples, len(samples))
    return observe_layers(
        reference.session,
        candidate,
        sample=next(samples.batches(TABLE_BATCH, limit=TABLE_BATCH)).inputs,
        batches=lambda size: (batch.inputs for batch in samples.batches(size, limit=limit)),
        tick=progress(limit),
    )


class Turns:
    """A sample set for several threads, of which one at a time reads samples: a source of data need
    not know of threads."""

    def __init__(self, samples: SampleSet) -> None:
        self._samples = samples
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._samples)

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """As ``SampleSet.batches``."""
        with self._lock:
            batches = iter(self._samples.batches(size, limit=limit))
        while True:
            with self._lock:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def digest(self) -> str:
        """As ``SampleSet.digest``."""
        with self._lock:
            return self._samples.digest()
