"""Faults of the runtime: the same answers, at a higher price."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gate.core.artifact import Artifact
from gate.core.layer import LayerRow
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.drill.base import NotHere
from gate.drill.injector import Whole, at, whole
from gate.drill.onnx_edit import Edit
from gate.drill.sites import weights
from gate.drill.torch_state import StateEdit, state_weights

if TYPE_CHECKING:
    from gate.backends.base import Backend, Session
    from gate.models.base import LoadedModel

Rng = np.random.Generator
Open = Callable[[TargetSpec], AbstractContextManager["Session"]]

_MIB = 1024**2
# Small: to fill memory takes time, and it is not the latency that is at fault.
_LEAK_A_RUN, _LEAK_AT_MOST, _HELD = _MIB, 512 * _MIB, 64 * _MIB
_REMEMBERED = 15
_CHUNK = _MIB


class WorseBackend:
    """A backend whose candidates open through ``opening``; everything else is the inner one's."""

    def __init__(
        self, inner: Backend, opening: Callable[[Open, TargetSpec], AbstractContextManager[Session]]
    ) -> None:
        self._inner = inner
        self._opening = opening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> AbstractContextManager[Session]:
        """See ``Backend.open_candidate``."""

        def opened(where: TargetSpec) -> AbstractContextManager[Session]:
            return self._inner.open_candidate(artifact, model=model, target=where)

        return self._opening(opened, target)


class WorseSession:
    """A session that does something more after each run."""

    def __init__(self, inner: Session, after: Callable[[TensorMap, int], None]) -> None:
        self._inner = inner
        self._after = after

    def run(self, inputs: TensorMap) -> TensorMap:
        """See ``Session.run``."""
        started = time.perf_counter_ns()
        outputs = self._inner.run(inputs)
        self._after(inputs, time.perf_counter_ns() - started)
        return outputs

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """See ``Session.layers``."""
        return self._inner.layers(inputs)

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """See ``Session.capture``."""
        return self._inner.capture(inputs, names)

    def packed_bytes(self) -> int | None:
        """See ``Session.packed_bytes``."""
        return self._inner.packed_bytes()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Typical:
    """Median of the last own times, by shape of the inputs, in nanoseconds."""

    def __init__(self) -> None:
        self._times: dict[tuple[tuple[int, ...], ...], list[int]] = {}

    def __call__(self, inputs: TensorMap, own: int) -> float:
        """Take one more time in and return the median."""
        times = self._times.setdefault(tuple(x.shape for x in inputs.values()), [])
        times.append(own)
        del times[:-_REMEMBERED]
        return median(times)


class Work:
    """Real work of a wanted length: a checksum over as many bytes as take that long."""

    def __init__(self) -> None:
        self._bytes = memoryview(bytes(range(256)) * (_CHUNK // 256))
        # The fastest of many is what the machine can do; a slower one was disturbed.
        self._ns_a_byte = min(self._timed() for _ in range(30)) / _CHUNK

    def _timed(self) -> int:
        started = time.perf_counter_ns()
        zlib.crc32(self._bytes)
        return time.perf_counter_ns() - started

    def __call__(self, nanoseconds: float) -> None:
        """Work for about so long."""
        left = round(nanoseconds / self._ns_a_byte)
        while left > 0:
            zlib.crc32(self._bytes[: min(left, _CHUNK)])
            left -= _CHUNK


def latency_5_percent(backend: Backend, rng: Rng) -> Backend:
    """After each run a twentieth of its usual time is worked away."""
    del rng
    return _slower(backend, 0.05)


def latency_10_percent(backend: Backend, rng: Rng) -> Backend:
    """After each run a tenth of its usual time is worked away."""
    del rng
    return _slower(backend, 0.10)


def sleep(backend: Backend, rng: Rng) -> Backend:
    """After each run its usual time is slept away; the processor has nothing to do."""
    del rng
    typical = Typical()
    return _after_each_run(backend, lambda: lambda x, own: time.sleep(typical(x, own) / 1e9))


def threads(backend: Backend, rng: Rng) -> Backend:
    """Opened with four threads where one was agreed, with one where more were."""
    del rng

    def opening(opened: Open, target: TargetSpec) -> AbstractContextManager[Session]:
        return opened(replace(target, threads=4 if target.threads == 1 else 1))

    return cast("Backend", WorseBackend(backend, opening))


def memory_leak(backend: Backend, rng: Rng) -> Backend:
    """Each run keeps 1 MiB, up to 512 MiB."""
    del rng

    def leaking() -> Callable[[TensorMap, int], None]:
        kept: list[Array] = []

        def keep(inputs: TensorMap, own: int) -> None:
            del inputs, own
            if len(kept) * _LEAK_A_RUN < _LEAK_AT_MOST:
                kept.append(np.ones(_LEAK_A_RUN, np.uint8))  # written, so that it is resident

        return keep

    return _after_each_run(backend, leaking)


def memory_held(backend: Backend, rng: Rng) -> Backend:
    """An opened candidate holds 64 MiB more."""
    del rng

    @contextmanager
    def opening(opened: Open, target: TargetSpec) -> Iterator[Session]:
        held = np.ones(_HELD, np.uint8)
        with opened(target) as session:
            yield session
        del held

    return cast("Backend", WorseBackend(backend, opening))


def slow_load(backend: Backend, rng: Rng) -> Backend:
    """The candidate is opened twice for nothing before it is opened."""
    del rng

    @contextmanager
    def opening(opened: Open, target: TargetSpec) -> Iterator[Session]:
        for _ in range(2):
            with opened(target):
                pass
        with opened(target) as session:
            yield session

    return cast("Backend", WorseBackend(backend, opening))


@at(whole, whole)
def float_weights_kept(edit: Edit | StateEdit, place: Whole, rng: Rng) -> str:
    """Weights in floating point that nothing reads, beside the stored ones."""
    del place, rng
    stored = weights(edit) if isinstance(edit, Edit) else state_weights(edit)
    found = [weight.real(edit).astype(np.float32) for weight in stored]
    if not found:
        raise NotHere("no weight is stored in integers")
    if isinstance(edit, StateEdit):
        edit.leave_behind(found)
    else:
        for value in found:
            edit.constant(value, "left_behind")
    return f"{sum(value.nbytes for value in found)} bytes of weights left behind"


def _slower(backend: Backend, share: float) -> Backend:
    work = Work()  # calibrated now: in an opened session it would count as load time

    def working() -> Callable[[TensorMap, int], None]:
        typical = Typical()
        return lambda x, own: work(share * typical(x, own))

    return _after_each_run(backend, working)


def _after_each_run(
    backend: Backend, make: Callable[[], Callable[[TensorMap, int], None]]
) -> Backend:
    @contextmanager
    def opening(opened: Open, target: TargetSpec) -> Iterator[Session]:
        with opened(target) as session:
            yield cast("Session", WorseSession(session, make()))

    return cast("Backend", WorseBackend(backend, opening))
