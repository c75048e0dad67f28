"""Outputs of the reference over the evaluation samples: computed once, kept, read back as they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.convert import to_plain
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.data.base import SampleSet
from gate.models.base import LoadedModel
from gate.run.announce import Announcer
from gate.run.cache import Cache, Entry, Slot
from gate.run.identity import entry_sources, gate_sources, installed_versions
from gate.run.mutation import Mutation
from gate.tiers.numerical import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable

KIND = "reference-outputs"


class LazySession:
    """The reference's session, opened when it is first needed: with its outputs in the cache and
    nothing but the numerical tier demanded, it never is."""

    def __init__(self, model: LoadedModel, target: TargetSpec, stack: ExitStack) -> None:
        self._model = model
        self._target = target
        self._stack = stack
        self._session: Session | None = None
        self._lock = threading.Lock()

    @property
    def session(self) -> Session:
        """The session, which stays open as long as the stack does; any thread may ask first."""
        with self._lock:
            if self._session is None:
                backend: Backend = plugins.load("backends", self._target.backend)
                self._session = self._stack.enter_context(
                    backend.open_reference(self._model, target=self._target)
                )
            return self._session

    def run(self, inputs: TensorMap) -> TensorMap:
        """Outputs of one batch."""
        return self.session.run(inputs)


def reference_key(
    case: Case,
    model: LoadedModel,
    target: TargetSpec,
    samples: SampleSet,
    *,
    mutation: Mutation | None,
) -> dict[str, JsonValue]:
    """Everything that decides the outputs of a float model on ``target``.

    ``mutation`` is a drill's change of the model or the samples: it keeps its outputs apart from
    everybody else's, even where a fault forgets to tell of itself in a digest.
    """
    backend: Backend = plugins.load("backends", target.backend)
    mutated: dict[str, JsonValue] = {}
    if mutation is not None:
        mutated["mutation"] = [mutation.fault, mutation.seed, mutation.case_id]
    return {
        "model": model.sha256,
        "format": model.format.value,
        "entries": entry_sources([case.model.options, case.data.evaluation.options]),
        "model_options": case.model.options,
        "data": samples.digest(),
        "environment": to_plain(backend.environment(target)),
        "target": target.options,
        "batch": case.run.batch,
        "versions": installed_versions(),
        "gate": gate_sources("backends", "data", "models"),
        **mutated,
    }


@contextmanager
def reference_outputs(
    cache: Cache,
    parts: Mapping[str, JsonValue],
    *,
    samples: int,
    compute: Callable[[TensorMap], TensorMap],
    announcer: Announcer,
    notes: list[str],
) -> Iterator[Outputs]:
    """A function that gives the outputs for batch after batch, in the order of the samples.

    From the cache where they are there (``compute`` is not called then); else computed, and kept
    when the block ends without an exception and all ``samples`` have passed. The key's lock is held
    meanwhile, so that cases that share a reference compute it once.
    """
    with cache.slot(KIND, parts) as slot:
        if slot.damage is not None:
            notes.append(slot.damage)
        announcer.cache(KIND, hit=slot.entry is not None)
        if slot.entry is not None:
            yield _Recorded(slot.entry)
            return
        with ExitStack() as stack:
            recorder = _Recorder(slot, samples, compute, stack)
            yield recorder
            stack.close()
            recorder.keep()


class _Recorded:
    """Reads outputs back; the arrays are maps of the files, not copies in memory."""

    def __init__(self, entry: Entry) -> None:
        self._arrays: dict[str, Array] = {
            name: np.load(entry.directory / file, mmap_mode="r", allow_pickle=False)
            for name, file in entry.meta["files"]
        }
        self._position = 0

    def __call__(self, inputs: TensorMap) -> TensorMap:
        start = self._position
        self._position += len(next(iter(inputs.values())))
        return {name: array[start : self._position] for name, array in self._arrays.items()}


class _Recorder:
    """Computes outputs and writes each to a ``.npy`` file as they come."""

    def __init__(
        self,
        slot: Slot,
        samples: int,
        compute: Callable[[TensorMap], TensorMap],
        stack: ExitStack,
    ) -> None:
        self._slot = slot
        self._folder = slot.staging()
        self._samples = samples
        self._compute = compute
        self._stack = stack
        self._files: dict[str, _Column] | None = None
        self._seen = 0
        self._uniform = True

    def __call__(self, inputs: TensorMap) -> TensorMap:
        outputs = self._compute(inputs)
        if self._files is None:
            self._files = {
                name: _Column(self._folder / f"{index}.npy", value, self._samples, self._stack)
                for index, (name, value) in enumerate(outputs.items())
            }
        self._uniform &= tuple(outputs) == tuple(self._files) and all(
            self._files[name].fits(value) for name, value in outputs.items()
        )
        if self._uniform:
            for name, value in outputs.items():
                self._files[name].write(value)
        self._seen += len(next(iter(inputs.values())))
        return outputs

    def keep(self) -> None:
        """Make the files an entry, unless something is missing or no array can hold it all."""
        if self._files and self._uniform and self._seen == self._samples:
            self._slot.commit({"files": [[n, c.path.name] for n, c in self._files.items()]})


class _Column:
    """One output's file: a header for all samples, then the samples as they come.

    Written, not mapped: a full disk is then an error that can be told, not a signal.
    """

    def __init__(self, path: Path, first: Array, samples: int, stack: ExitStack) -> None:
        self.path = path
        self._like = first.dtype, first.shape[1:]
        self._file: BinaryIO = stack.enter_context(path.open("wb"))
        header = {
            "descr": np.lib.format.dtype_to_descr(first.dtype),
            "fortran_order": False,
            "shape": (samples, *first.shape[1:]),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def fits(self, value: Array) -> bool:
        return value.ndim > 0 and (value.dtype, value.shape[1:]) == self._like

    def write(self, value: Array) -> None:
        self._file.write(np.ascontiguousarray(value).data)
