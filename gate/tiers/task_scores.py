"""Tasks that a number or a vector a sample answers: verification, anomaly detection, regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gate.core.task import Column, Task, TaskScores
from gate.core.tensors import Array, TensorMap
from gate.data.base import DataError, Truth
from gate.tiers.task import Facts, Labelled, OutputError, TaskScorer, UnscorableError, integers

_TINY = 1e-12


class VerificationScorer(TaskScorer):
    """Keeps embeddings until the end, then the similarity of each trial."""

    task = Task.VERIFICATION
    truth_columns = ("identity",)
    columns = ("embedding",)

    def prepare(self, given: Labelled) -> Facts:
        """Who each sample is of."""
        return {"identity": integers(given.truths, self.task, "identities")}

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """The embeddings one after the other; there are no trials before the end."""
        count = len(given.truths)
        found = self.output(
            outputs,
            lambda v: v.ndim == 2 and len(v) == count and v.dtype.kind == "f",
            "embeddings of shape (batch, size)",
        )
        return {"embedding": found.astype(np.float64).ravel().tolist()}

    def result(self) -> TaskScores | None:
        """Similarities of the trials.

        Raises:
            OutputError: fewer than two samples of every identity, or one identity alone.
        """
        plain = super().result()
        if plain is None:
            return None
        identities = np.asarray(plain.truth[0].values, dtype=np.int64)
        first, second = self._trials(identities)
        _, numbers = np.unique(identities, return_inverse=True)
        same = identities[first] == identities[second]
        if not same.any() or same.all():
            raise OutputError(
                "verification takes two samples of one identity at least, and two identities"
            )
        truth = {"first": numbers[first], "second": numbers[second], "same": same}
        sides = {
            side: (
                ()
                if side == "candidate" and plain.why_none
                else _made({"score": self._similar(_rows(columns, len(identities)), first, second)})
            )
            for side, columns in (("reference", plain.reference), ("candidate", plain.candidate))
        }
        return TaskScores(
            task=str(self.task),
            units=int(numbers.max()) + 1,
            truth=_made(truth),
            reference=sides["reference"],
            candidate=sides["candidate"],
            why_none=plain.why_none,
        )

    def _trials(self, identities: Array) -> tuple[Array, Array]:
        """Pairs of samples: all of them, or as many genuine ones as half of what is asked for holds
        and impostors for the rest."""
        first, second = np.triu_indices(len(identities), k=1)
        most = int(self.options["trials"])
        if len(first) <= most:
            return first, second
        generator = np.random.Generator(np.random.PCG64(int(self.options["seed"])))
        same = identities[first] == identities[second]
        genuine, impostors = np.flatnonzero(same), np.flatnonzero(~same)
        own = min(len(genuine), most // 2)
        drawn = [
            np.sort(generator.permutation(group)[:count])
            for group, count in ((genuine, own), (impostors, most - own))
        ]
        chosen = np.concatenate(drawn)
        return first[chosen], second[chosen]

    def _similar(self, embeddings: Array, first: Array, second: Array) -> Array:
        a, b = embeddings[first], embeddings[second]
        if self.options["similarity"] == "euclidean":
            return np.asarray(-np.linalg.norm(a - b, axis=1))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.asarray((a * b).sum(axis=1) / np.maximum(norms, _TINY))


class AnomalyScorer(TaskScorer):
    """One score a sample."""

    task = Task.ANOMALY_DETECTION
    truth_columns = ("anomalous",)
    columns = ("score",)

    def prepare(self, given: Labelled) -> Facts:
        """1 for an anomaly, 0 for a normal sample."""
        labels = integers(given.truths, self.task, "0 (normal) and 1 (anomalous)")
        if set(labels) - {0, 1}:
            raise DataError(f"labels of {self.task} are 0 and 1, found {max(labels, key=abs)}")
        return {"anomalous": labels}

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Scores, higher for anomalies."""
        count = len(given.truths)
        if self.options["score"] == "reconstruction":
            (fed, *others) = given.batch.inputs.values()
            found = self.output(
                outputs, lambda v: v.shape == fed.shape, f"an output like the input {fed.shape}"
            )
            if others:
                raise UnscorableError("a reconstruction takes a model with one input")
            differences = found.astype(np.float64) - fed.astype(np.float64)
            score = (differences**2).reshape(count, -1).mean(axis=1)
        else:
            found = self.output(
                outputs, lambda v: v.size == count, "one score a sample, (batch,) or (batch, 1)"
            )
            score = found.astype(np.float64).reshape(count)
        return {"score": (score if self.options["higher"] == "anomalous" else -score).tolist()}


class RegressionScorer(TaskScorer):
    """Sums of absolute and squared errors of each sample."""

    task = Task.REGRESSION
    truth_columns = ("elements",)
    columns = ("absolute", "squared")

    def prepare(self, given: Labelled) -> Facts:
        """How many numbers each target has."""
        return {"elements": [target.size for target in _targets(given.truths)]}

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Errors against the targets."""
        targets = np.stack(_targets(given.truths)).reshape(len(given.truths), -1)
        found = self.output(
            outputs,
            lambda v: v.ndim > 0 and v.shape[0] == len(targets) and v.size == targets.size,
            f"{targets.shape[1]} numbers a sample",
        )
        errors = found.astype(np.float64).reshape(targets.shape) - targets
        return {
            "absolute": np.abs(errors).sum(axis=1).tolist(),
            "squared": (errors**2).sum(axis=1).tolist(),
        }


def _targets(truths: Sequence[Truth]) -> list[Array]:
    found = [np.asarray(truth) for truth in truths]
    if len({target.shape for target in found}) > 1 or found[0].dtype.kind not in "fiu":
        raise DataError("targets of a regression are numbers, of one shape for all samples")
    return [target.astype(np.float64) for target in found]


def _rows(columns: tuple[Column, ...], samples: int) -> Array:
    return np.asarray(columns[0].values).reshape(samples, -1)


def _made(columns: dict[str, Array]) -> tuple[Column, ...]:
    return tuple(
        Column(name=name, values=tuple(np.asarray(values, dtype=np.float64).tolist()))
        for name, values in columns.items()
    )
