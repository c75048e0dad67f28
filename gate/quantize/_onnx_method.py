"""Base of the methods that make a quantized ONNX file of a float one.

A method says what is its own: the options, what it refuses (``_completed``), and how the library is
called on the prepared model (``_made``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, TargetSpec
from gate.core.tensors import TensorMap
from gate.quantize import _onnx
from gate.quantize.base import CalibrationBatches, QuantizeError, refusal

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxWork:
    """What one quantization starts from, and where it ends."""

    model: LoadedModel
    options: Mapping[str, JsonValue]
    """Complete."""
    prepared: Path
    """The float model, pre-processed where the options say so, with every node named."""
    kept: list[str]
    """Names of its nodes that stay in float, sorted."""
    calibration: CalibrationBatches
    """Empty where the spec gives none."""
    written: Path
    """Where the candidate is to be."""


class OnnxMethod(ABC):
    """Preparation, the choice of what stays in float, the look at the result; see ``Quantizer``."""

    name: ClassVar[str]
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.ONNX})
    produces: ClassVar[Format | None] = Format.ONNX
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]]

    def unavailable(self) -> str | None:
        """Why this quantizer cannot work here and how to get it."""
        return _onnx.unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return _onnx.versions()

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,  # noqa: ARG002 - the file is the same for every target
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """See ``Quantizer.quantize``."""
        complete = self._completed(options)
        if calibration is None and self.needs_calibration:
            raise QuantizeError("static quantization needs calibration samples; there is none")
        batches = calibration if calibration is not None else _no_batches
        with _onnx.workspace() as folder:
            prepared = self._prepared(model, complete, folder)
            return self._made(
                OnnxWork(
                    model=model,
                    options=complete,
                    prepared=prepared,
                    kept=_onnx.excluded_nodes(prepared, complete["keep_float"], model, batches),
                    calibration=batches,
                    written=out_dir / "model.onnx",
                )
            )

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:
        """Names that ``keep_float`` selects among: the nodes of the pre-processed model.

        Raises:
            QuantizeError: the model cannot be prepared.
        """
        import onnx

        complete = with_defaults(options, self.options_schema)
        with _onnx.workspace() as folder:
            prepared = self._prepared(model, complete, folder)
            graph = onnx.load_model(str(prepared), load_external_data=False).graph
        return tuple(node.name for node in graph.node)

    def refused(self, options: Options, target: TargetSpec) -> tuple[str, str] | None:  # noqa: ARG002
        """See ``RefusingQuantizer.refused``."""
        return refusal(lambda: self._completed(options))

    def _completed(self, options: Options) -> dict[str, JsonValue]:
        """All options, which the artifact then has.

        Raises:
            OptionsError: they contradict one another.
        """
        return with_defaults(options, self.options_schema)

    def _prepared(self, model: LoadedModel, options: Mapping[str, JsonValue], folder: Path) -> Path:
        return _onnx.prepare(model, preprocess=options["preprocess"], folder=folder)

    @abstractmethod
    def _made(self, work: OnnxWork) -> Artifact:
        """Write the candidate, and describe it with ``_finished``.

        Raises:
            QuantizeError: the library refused, or nothing was quantized.
        """

    def _finished(self, work: OnnxWork) -> Artifact:
        """The written file; QuantizeError where no operator in it is quantized."""
        return _onnx.finish(work.written, work.prepared, producer=self.name, options=work.options)


def _no_batches() -> Iterator[TensorMap]:
    return iter(())
