"""Numerical tier, task accuracy and the pin of the reference: one pass over the evaluation samples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gate.core.layer import ErrorSums, TensorInfo
from gate.core.observation import OutputObserved, ReferencePin, TaskObserved
from gate.core.tensors import Array, TensorMap
from gate.data.base import Batch, DataError
from gate.metrics.accumulate import ErrorAccumulator
from gate.metrics.classification import (
    argmax_agreement,
    bits,
    finite_sum,
    kl_divergence_nats,
    topk_correct,
)
from gate.metrics.sketch import Sketch
from gate.tiers.flips import FlipCollector
from gate.tiers.task import OutputError, Scorer
from gate.tiers.tensors import add_errors, channel_axis

__all__ = ["NumericalObserved", "OutputError", "Outputs", "observe_numerical"]

TOP5_CLASSES = 6
"""With fewer classes the top five say little or nothing."""

Outputs = Callable[[TensorMap], TensorMap]
"""Gives one batch's outputs for its inputs; called in the order of the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericalObserved:
    """What the pass saw."""

    outputs: Mapping[str, OutputObserved]
    """Outputs that both sides have, by the reference's names and in its order."""
    missing_outputs: tuple[str, ...]
    task: TaskObserved | None
    pin: ReferencePin
    samples: int
    notes: tuple[str, ...]


def observe_numerical(
    batches: Iterable[Batch],
    *,
    reference: Outputs,
    candidate: Outputs,
    classification: bool,
    tick: Callable[[int], None],
    flips: FlipCollector | None = None,
    scorers: Sequence[Scorer] = (),
) -> NumericalObserved:
    """Run both sides over ``batches`` and add up how they differ.

    A wrong shape, a missing output or values that are not finite are facts about the candidate and
    are recorded; they end nothing.

    Args:
        batches: the evaluation samples in order; not empty.
        classification: whether outputs of shape (samples, classes) are logits.
        tick: called after each batch with the number of samples so far.
        flips: is shown every batch whose logits both sides have.
        scorers: are shown every batch.

    Raises:
        OutputError: the reference's outputs change their names or, with labels, their number of
            classes between batches, or lack the batch axis.
        DataError: a label outside the classes of the reference's output, or that is no class.
    """
    seen = _Pass(classification=classification)
    for batch in batches:
        size = len(batch.indices)
        x = reference(batch.inputs)
        y = candidate(batch.inputs)
        if classification and batch.targets is not None:
            raise DataError("classification takes class indices as labels, whole numbers")
        seen.add(x, y, batch.labels, size)
        for scorer in scorers:
            scorer.add(batch, x, y)
        logits = seen.logits(x, y)
        if flips is not None and logits is not None:
            flips.add(batch, *logits)
        tick(seen.samples)
    return seen.result()


class _Pass:
    def __init__(self, *, classification: bool) -> None:
        self._classification = classification
        self._compared: dict[str, _Output] = {}
        self._names: tuple[str, ...] | None = None
        self._candidate_names: tuple[str, ...] = ()
        self._pairs: dict[str, str] = {}
        self._pin = _Pin()
        self._task: _Task | None = None
        self.samples = 0

    def add(self, x: TensorMap, y: TensorMap, labels: Array | None, size: int) -> None:
        if self._names is None:
            self._begin(x, y, labels)
        if tuple(x) != self._names:
            raise OutputError(f"the reference's outputs changed from {self._names} to {tuple(x)}")
        for name, value in x.items():
            if value.ndim == 0 or value.shape[0] != size:
                raise OutputError(
                    f"the reference's output '{name}' has shape {list(value.shape)} for a batch"
                    f" of {size}; its first axis must be the batch"
                )
        self._pin.add(x)
        for name, output in self._compared.items():
            output.add(x[name], y.get(self._pairs[name]), size)
        if self._task is not None and labels is not None:
            name = self._task.output
            self._task.add(x[name], y.get(self._pairs.get(name, "")), labels)
        self.samples += size

    def _begin(self, x: TensorMap, y: TensorMap, labels: Array | None) -> None:
        self._names, self._candidate_names = tuple(x), tuple(y)
        self._pairs = {name: name for name in x if name in y}
        if len(x) == len(y) == 1 and not self._pairs:
            # One output each: there is only one way to pair them.
            self._pairs = {self._names[0]: self._candidate_names[0]}
        self._compared = {
            name: _Output(x[name], classes=self._classification and _is_logits(x[name]))
            for name in self._pairs
        }
        logits = next((name for name, value in x.items() if _is_logits(value)), None)
        if self._classification and labels is not None and logits is not None:
            self._task = _Task(logits, classes=x[logits].shape[1])

    def logits(self, x: TensorMap, y: TensorMap) -> tuple[Array, Array] | None:
        """The two outputs that the task is judged by; None while both cannot be."""
        if self._task is None or not self._task.complete:
            return None
        name = self._task.output
        return x[name], y[self._pairs[name]]

    def result(self) -> NumericalObserved:
        if self._names is None:
            raise DataError("there is no sample to evaluate")
        return NumericalObserved(
            outputs={name: output.observed() for name, output in self._compared.items()},
            missing_outputs=tuple(name for name in self._names if name not in self._pairs),
            task=self._task.observed() if self._task is not None else None,
            pin=self._pin.result(
                self.samples, self._task.reference_top1 if self._task is not None else None
            ),
            samples=self.samples,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        for reference, candidate in self._pairs.items():
            if reference != candidate:
                yield f"the only output '{reference}' is called '{candidate}' in the candidate"
        extra = [n for n in self._candidate_names if n not in self._pairs.values()]
        if extra:
            yield f"outputs of the candidate that the reference does not have: {', '.join(extra)}"
        if self._task is not None and not self._task.complete:
            yield f"task accuracy not measured: the candidate has no logits like '{self._task.output}'"


class _Output:
    """One output that both sides have."""

    def __init__(self, first: Array, *, classes: bool) -> None:
        self._reference = TensorInfo(shape=first.shape[1:], dtype=str(first.dtype))
        self._candidate: TensorInfo | None = None
        self._errors = ErrorAccumulator(channel_axis(first.shape))
        self._classes = classes
        self._kl: float | None = 0.0
        self._agreement: list[str] = []
        self._comparable = True
        self._samples = 0

    def add(self, x: Array, y: Array | None, size: int) -> None:
        if y is None or y.shape != x.shape:
            self._spoil(y, size)
        elif self._comparable:
            if self._candidate is None:
                self._candidate = TensorInfo(shape=y.shape[1:], dtype=str(y.dtype))
            add_errors(self._errors, x, y)
            self._samples += size
            if self._classes:
                kl = finite_sum(kl_divergence_nats(x, y))
                self._kl = None if kl is None or self._kl is None else self._kl + kl
                self._agreement.append(bits(argmax_agreement(x, y)))

    def _spoil(self, y: Array | None, size: int) -> None:
        """Keep the first shape that did not fit; from here on nothing of this output is compared."""
        if not self._comparable:
            return
        self._comparable = False
        shape: tuple[int, ...] = () if y is None else y.shape
        # With a wrong batch axis too the whole shape is shown, so that it cannot look right.
        own = shape[1:] if shape and shape[0] == size else shape
        self._candidate = TensorInfo(shape=own, dtype=str(y.dtype) if y is not None else "absent")

    def observed(self) -> OutputObserved:
        kept = self._comparable and self._classes
        return OutputObserved(
            reference=self._reference,
            candidate=self._candidate or TensorInfo(shape=(), dtype="absent"),
            errors=self._errors.sums() if self._comparable else ErrorSums(),
            samples=self._samples if self._comparable else 0,
            kl_sum_nats=self._kl if kept else None,
            agreement="".join(self._agreement) if kept else None,
        )


class _Task:
    """Correctness of both sides on labelled samples."""

    def __init__(self, output: str, *, classes: int) -> None:
        self.output = output
        self.complete = True
        self._classes = classes
        self._bits: dict[tuple[str, int], list[str]] = {}
        self._labels: list[int] = []
        self._top5 = classes >= TOP5_CLASSES

    def add(self, x: Array, y: Array | None, labels: Array) -> None:
        if x.shape[1:] != (self._classes,):
            raise OutputError(
                f"the reference's output '{self.output}' has {self._classes} classes in the first batch"
                f" and shape {list(x.shape)} in a later one: for a task without classes say task: other"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < self._classes:
            raise DataError(
                f"labels from {labels.min()} to {labels.max()}, but the reference's output"
                f" '{self.output}' has {self._classes} classes"
            )
        self._labels += labels.tolist()
        self._side("reference", x, labels)
        if y is None or y.shape != x.shape:
            self.complete = False
        else:
            self._side("candidate", y, labels)

    @property
    def reference_top1(self) -> int:
        return self._joined("reference", 1).count("1")

    def observed(self) -> TaskObserved | None:
        if not self.complete:
            return None
        return TaskObserved(
            reference_top1=self._joined("reference", 1),
            candidate_top1=self._joined("candidate", 1),
            reference_top5=self._joined("reference", 5) if self._top5 else None,
            candidate_top5=self._joined("candidate", 5) if self._top5 else None,
            labels=tuple(self._labels),
        )

    def _side(self, side: str, logits: Array, labels: Array) -> None:
        for k in (1, 5) if self._top5 else (1,):
            self._bits.setdefault((side, k), []).append(bits(topk_correct(logits, labels, k)))

    def _joined(self, side: str, k: int) -> str:
        return "".join(self._bits[side, k])


class _Pin:
    """Digest and size of the reference's outputs, whatever the batches."""

    def __init__(self) -> None:
        self._digests: dict[str, hashlib._Hash] = {}
        self._sketches: dict[str, Sketch] = {}
        self._squares: dict[str, float] = {}
        self._finite: dict[str, int] = {}

    def add(self, outputs: TensorMap) -> None:
        for name, value in outputs.items():
            digest = self._digests.setdefault(name, hashlib.sha256())
            digest.update(np.ascontiguousarray(value).data)
            self._sketches.setdefault(name, Sketch()).add(value)
            wide = value.astype(np.float64).ravel()
            finite = wide[np.isfinite(wide)]
            self._squares[name] = self._squares.get(name, 0.0) + float(np.sum(finite * finite))
            self._finite[name] = self._finite.get(name, 0) + finite.size

    def result(self, samples: int, top1_correct: int | None) -> ReferencePin:
        total = hashlib.sha256()
        for name in sorted(self._digests):
            total.update(f"{name}:{self._digests[name].hexdigest()};".encode())
        return ReferencePin(
            output_sha256=total.hexdigest(),
            output_rms={
                name: math.sqrt(self._squares[name] / count) if count else 0.0
                for name, count in self._finite.items()
            },
            samples=samples,
            top1_correct=top1_correct,
            sketch={name: sketch.result() for name, sketch in self._sketches.items()},
        )


def _is_logits(value: Array) -> bool:
    return value.ndim == 2 and value.shape[1] >= 2 and value.dtype.kind == "f"
