"""Protocol of quantizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.models.hashing import files_sha256

if TYPE_CHECKING:
    from gate.data.base import Batch, Truth
    from gate.models.base import LoadedModel


class QuantizeError(Exception):
    """Quantization that failed or did nothing; the message is for the user."""


class OptionsError(QuantizeError):
    """Options that contradict one another, or that no kernel of the target has."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option
        """The one at fault; of an option inside another, ``outer.inner``."""


CalibrationBatches = Callable[[], Iterator[TensorMap]]
"""Each call starts the calibration samples anew, in the same order and batches."""


@runtime_checkable
class LabelledBatches(Protocol):
    """Calibration batches that also tell their labels, for quantizers that train."""

    def __call__(self) -> Iterator[TensorMap]:
        """See ``CalibrationBatches``."""
        ...

    def labelled(self) -> Iterator[Batch]:
        """The same batches with labels, where the data has any."""
        ...


def labelled_batches(
    batches: CalibrationBatches,
) -> Iterator[tuple[TensorMap, Array | tuple[Truth, ...] | None]]:
    """Inputs of each batch, and its labels: integers, else the truths one a sample; None where the
    data has none or ``batches`` does not tell them."""
    if isinstance(batches, LabelledBatches):
        for batch in batches.labelled():
            yield batch.inputs, batch.labels if batch.labels is not None else batch.targets
    else:
        yield from ((inputs, None) for inputs in batches())


def file_artifact(
    path: Path, *, kind: Format, producer: str, options: Mapping[str, JsonValue]
) -> Artifact:
    """Describe a candidate that is the one file ``path``."""
    return Artifact(
        format=kind,
        path=path,
        sha256=files_sha256([path]),
        size_bytes=path.stat().st_size,
        producer=producer,
        options=dict(options),
    )


def refusal(complete: Callable[[], object]) -> tuple[str, str] | None:
    """What ``RefusingQuantizer.refused`` tells, from how a method completes its options."""
    try:
        complete()
    except OptionsError as error:
        return error.option, str(error)
    return None


class Quantizer(Protocol):
    """Makes a candidate file out of a float model. Importing its module imports no framework."""

    name: ClassVar[str]
    accepts: ClassVar[frozenset[Format]]
    produces: ClassVar[Format | None]
    """None where it depends on the options or the model (``none``, ``candidate``, ``python``)."""
    needs_calibration: ClassVar[bool]
    options_schema: ClassVar[Mapping[str, JsonValue]]
    """JSON Schema (an object schema, closed) of what stands beside ``method:`` in a spec."""

    def unavailable(self) -> str | None:
        """Why this quantizer cannot work here and how to get it; None where it can."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Distribution -> version of everything that decides the result; part of the cache key."""
        ...

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,
        seed: int,
        out_dir: Path,
    ) -> Artifact:
        """Write the candidate under ``out_dir`` (which exists and is empty) and describe it.

        Deterministic: the same model, samples, options, seed and versions give the same bytes
        where the library allows it.

        Raises:
            QuantizeError: the library refused, or the model came back unquantized.
        """
        ...


class RestoringQuantizer(Quantizer, Protocol):
    """A quantizer whose file is a state that must be put back around the float module."""

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """Rebuild the quantized ``nn.Module`` from ``artifact`` without calibrating again."""
        ...


@runtime_checkable
class CalibratingQuantizer(Protocol):
    """A quantizer that needs calibration samples with some options only."""

    def calibrates(self, options: Options) -> bool:
        """Whether it needs them with these."""
        ...


@runtime_checkable
class RefusingQuantizer(Protocol):
    """A quantizer that can tell before a run which options cannot stand together."""

    def refused(self, options: Options, target: TargetSpec) -> tuple[str, str] | None:
        """The option at fault and why; None where they can. Imports no framework."""
        ...


@runtime_checkable
class KeepingQuantizer(Protocol):
    """A quantizer with an option ``keep_float``: what is left in float, by name among others; see
    ``gate.quantize.keep_float``."""

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among.

        Raises:
            QuantizeError: the model cannot be prepared.
        """
        ...
