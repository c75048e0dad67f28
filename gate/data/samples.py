"""Chooses evaluation and calibration samples, keeps them apart, and streams them in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from gate import plugins
from gate.core.canonical import canonical_json
from gate.core.spec import DataSpec, InputSpec, Options, SampleSpec
from gate.core.tensors import Array
from gate.data.base import Batch, DataError, Dataset, DataSource, SampleSet, Truth
from gate.data.transform import Preprocessor


def open_samples(
    data: DataSpec, inputs: Mapping[str, InputSpec]
) -> tuple[SampleSet, SampleSet | None]:
    """Open (evaluation, calibration); calibration is None where the spec has none.

    A draw is the source's order, or with a seed the permutation of NumPy's PCG64 stream; ``skip``
    samples of it are passed over and ``samples`` are taken. Calibration is drawn first. Unless
    ``overlap`` is set, evaluation then leaves out what calibration holds: the same sample of the
    same source, and any sample of the same content.

    Args:
        data: which samples, and the preprocessing.
        inputs: the model's inputs, which the preprocessed samples must fit.

    Raises:
        DataError: a source that is unavailable, missing or malformed, or has fewer samples than
            are asked for.
    """
    preprocess = Preprocessor(data.preprocess, inputs)
    evaluation_data = _open(data.evaluation)
    calibration: ChosenSamples | None = None
    taken: Collection[int] = ()
    contents: Collection[bytes] = ()
    if data.calibration is not None:
        same = _origin(data.calibration) == _origin(data.evaluation)
        calibration_data = evaluation_data if same else _open(data.calibration)
        chosen = _take(
            _draw(data.calibration, len(calibration_data)), data.calibration, "calibration"
        )
        calibration = ChosenSamples(calibration_data, chosen, preprocess, data.preprocess, inputs)
        if not data.overlap:
            taken = frozenset(chosen) if same else ()
            contents = frozenset(calibration.content_digests())

    known: dict[int, bytes] = {}

    def free(index: int) -> bool:
        if index in taken:
            return False
        if not contents:
            return True
        known[index] = _content_digest(evaluation_data, index)
        return known[index] not in contents

    drawn = (index for index in _draw(data.evaluation, len(evaluation_data)) if free(index))
    chosen = _take(drawn, data.evaluation, "evaluation")
    evaluation = ChosenSamples(
        evaluation_data,
        chosen,
        preprocess,
        data.preprocess,
        inputs,
        contents=tuple(known[index] for index in chosen) if known else None,
    )
    return evaluation, calibration


class ChosenSamples:
    """Samples of one data set by index, preprocessed when they are asked for; a ``SampleSet``."""

    def __init__(
        self,
        dataset: Dataset,
        indices: Sequence[int],
        preprocess: Callable[[object], dict[str, Array]],
        options: Options,
        inputs: Mapping[str, InputSpec],
        *,
        contents: tuple[bytes, ...] | None = None,
    ) -> None:
        """``contents`` are the samples' ``content_digests``, where somebody has taken them."""
        self._dataset = dataset
        self._indices = tuple(indices)
        self._preprocess = preprocess
        self._options = options
        self._inputs = inputs
        # What an input may range over says nothing about the samples.
        taken = {k: {"shape": list(v.shape), "dtype": v.dtype} for k, v in inputs.items()}
        self._meaning = canonical_json({"preprocess": dict(options), "inputs": taken})
        self._contents = contents

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def dataset(self) -> Dataset:
        """Where the samples come from."""
        return self._dataset

    @property
    def indices(self) -> tuple[int, ...]:
        """Chosen samples, in order."""
        return self._indices

    @property
    def options(self) -> Options:
        """The declared preprocessing."""
        return self._options

    def replaced(
        self,
        *,
        dataset: Dataset | None = None,
        indices: Sequence[int] | None = None,
        options: Options | None = None,
    ) -> ChosenSamples:
        """The same samples, but for what is given.

        Raises:
            DataError: the options cannot apply to the model's inputs.
        """
        return ChosenSamples(
            dataset or self._dataset,
            self._indices if indices is None else indices,
            self._preprocess if options is None else Preprocessor(options, self._inputs),
            self._options if options is None else options,
            self._inputs,
        )

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Stream the samples in order; the last batch may be smaller.

        The next batch is read and preprocessed by one thread while the caller works on this one;
        no more than two batches are in memory.

        Raises:
            DataError: a sample that cannot be read or does not fit the model's inputs.
        """
        if size < 1:
            raise ValueError(f"a batch has at least one sample, got {size}")
        indices = self._indices if limit is None else self._indices[:limit]
        parts = [indices[start : start + size] for start in range(0, len(indices), size)]
        if len(parts) < 2:
            yield from map(self._batch, parts)
            return
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gate-data")
        try:
            ahead: Future[Batch] = reader.submit(self._batch, parts[0])
            for part in parts[1:]:
                batch, ahead = ahead.result(), reader.submit(self._batch, part)
                yield batch
            yield ahead.result()
        finally:
            reader.shutdown(wait=True, cancel_futures=True)

    def digest(self) -> str:
        """SHA-256 over the samples' contents, labels and speakers, the preprocessing and the inputs.

        The same samples in another place or format of storage have another digest only where their
        bytes differ.
        """
        total = hashlib.sha256(self._meaning.encode())
        for index, content in zip(self._indices, self.content_digests(), strict=True):
            total.update(content)
            total.update(_truth_bytes(self._dataset.label(index)))
            if (speaker := _speaker(self._dataset, index)) is not None:
                total.update(f"{speaker!r};".encode())
        return total.hexdigest()

    def content_digests(self) -> tuple[bytes, ...]:
        """SHA-256 of each sample's identity, in order; read once."""
        if self._contents is None:
            self._contents = tuple(_content_digest(self._dataset, index) for index in self._indices)
        return self._contents

    def _batch(self, indices: Sequence[int]) -> Batch:
        samples = [self._sample(index) for index in indices]
        labels = [self._dataset.label(index) for index in indices]
        known = [label for label in labels if label is not None]
        if len(known) not in (0, len(labels)):
            raise DataError(f"sample {indices[labels.index(None)]} has no label, others have one")
        try:
            inputs = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        except ValueError as error:
            shapes = {name: sorted({s[name].shape for s in samples}) for name in samples[0]}
            raise DataError(
                f"samples {indices[0]} to {indices[-1]} differ in shape and make no batch: {shapes}"
            ) from error
        speakers = [_speaker(self._dataset, index) for index in indices]
        named = tuple(speaker for speaker in speakers if speaker is not None)
        if len(named) not in (0, len(speakers)):
            raise DataError(
                f"sample {indices[speakers.index(None)]} has no speaker, others have one"
            )
        classes = all(isinstance(label, int | np.integer) for label in known)
        return Batch(
            inputs=inputs,
            labels=np.array(known, dtype=np.int64) if known and classes else None,
            indices=tuple(indices),
            targets=None if classes else tuple(known),
            speakers=named or None,
        )

    def _sample(self, index: int) -> dict[str, Array]:
        try:
            return self._preprocess(self._dataset.raw(index))
        except DataError as error:
            raise DataError(f"sample {index}: {error}") from error
        except Exception as error:  # from a data set of the user's own
            raise DataError(f"sample {index}: {type(error).__name__}: {error}") from error


def _open(spec: SampleSpec) -> Dataset:
    source: DataSource = plugins.load("data", spec.source)
    reason = source.unavailable()
    if reason is not None:
        raise DataError(f"data source '{spec.source}': {reason}")
    dataset = source.open(spec.options)
    if len(dataset) == 0:
        raise DataError(f"data source '{spec.source}' has no sample")
    return dataset


def _origin(spec: SampleSpec) -> str:
    return canonical_json([spec.source, dict(spec.options)])


def _draw(spec: SampleSpec, available: int) -> Iterator[int]:
    """Indices in the order of the draw, after ``skip``."""
    order = (
        range(available)
        if spec.seed is None
        else np.random.Generator(np.random.PCG64(spec.seed)).permutation(available).tolist()
    )
    if spec.skip >= available:
        raise DataError(
            f"skip: {spec.skip} leaves none of the {available} samples of '{spec.source}'"
        )
    return iter(order[spec.skip :])


def _take(indices: Iterator[int], spec: SampleSpec, part: str) -> tuple[int, ...]:
    chosen: list[int] = []
    for index in indices:
        if len(chosen) == spec.samples:
            break
        chosen.append(index)
    if not chosen or (spec.samples is not None and len(chosen) < spec.samples):
        wanted = "at least one" if spec.samples is None else str(spec.samples)
        left_out = " and the calibration samples" if part == "evaluation" else ""
        raise DataError(
            f"{part} asks for {wanted} of '{spec.source}', which has {len(chosen)} after "
            f"skip: {spec.skip}{left_out} are left out"
        )
    return tuple(chosen)


def _truth_bytes(truth: Truth | None) -> bytes:
    if isinstance(truth, np.ndarray):
        return f"{truth.dtype.str}{truth.shape}:".encode() + truth.tobytes() + b";"
    return f"{truth};".encode()


def _speaker(dataset: Dataset, index: int) -> str | None:
    asked = getattr(dataset, "speaker", None)
    found = asked(index) if asked is not None else None
    return None if found is None else str(found)


def _content_digest(dataset: Dataset, index: int) -> bytes:
    return hashlib.sha256(dataset.identity(index)).digest()
