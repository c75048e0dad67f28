"""Bases of the methods that make a quantized torch network of a float one.

A method says what is its own: the options, how the network is quantized (``_made``), and, where it
writes a state, how the same structure is built again without samples, into which the state fits
(``_structure``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, TargetSpec
from gate.models.torch_runtime import ao_unavailable, engine_of, torch_settings
from gate.quantize._torch_common import (
    module_paths,
    remembered_kept,
    resolve_kept,
    torch_versions,
)
from gate.quantize._torch_state import STATE_FILE, load_state, save_state
from gate.quantize.base import CalibrationBatches, file_artifact, refusal

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchWork:
    """What one quantization starts from."""

    model: LoadedModel
    options: Mapping[str, JsonValue]
    """Complete."""
    kept: Sequence[str]
    """Paths of the modules that stay in float."""
    calibration: CalibrationBatches | None
    engine: str
    seed: int


class TorchFileMethod(ABC):
    """Settings, and the choice of what stays in float, whatever is written; see ``Quantizer``."""

    name: ClassVar[str]
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE})
    produces: ClassVar[Format | None] = Format.TORCH_QUANTIZED
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]]

    def unavailable(self) -> str | None:
        """Why torch.ao is not here, or None."""
        return ao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torch_versions()

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
        """Quantize and write the network; see ``Quantizer.quantize``."""
        complete = self._completed(options, target)
        engine = str(complete.get("engine") or engine_of(target.options))
        with torch_settings(engine=engine, threads=target.threads):
            model = self._start(model, calibration, complete, seed)
            kept = self._kept(model, calibration, complete)
            work = TorchWork(
                model=model,
                options=complete,
                kept=kept,
                calibration=calibration,
                engine=engine,
                seed=seed,
            )
            path = self._write(self._made(work), work, out_dir)
        return file_artifact(
            path, kind=Format.TORCH_QUANTIZED, producer=self.name, options=complete
        )

    def keepable(self, model: LoadedModel, options: Options) -> tuple[str, ...]:  # noqa: ARG002
        """Names that ``keep_float`` selects among: the paths of the modules."""
        return module_paths(model.module)

    def refused(self, options: Options, target: TargetSpec) -> tuple[str, str] | None:
        """See ``RefusingQuantizer.refused``."""
        return refusal(lambda: self._completed(options, target))

    def _completed(self, options: Options, target: TargetSpec) -> dict[str, JsonValue]:  # noqa: ARG002
        """All options, which the artifact then has.

        Raises:
            OptionsError: they contradict one another.
        """
        return with_defaults(options, self.options_schema)

    def _start(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,  # noqa: ARG002 - for methods that change the model
        options: Mapping[str, JsonValue],  # noqa: ARG002 - as above
        seed: int,  # noqa: ARG002 - as above
    ) -> LoadedModel:
        """The model that is quantized: the float one, or what a method makes of a copy of it first.

        Raises:
            QuantizeError: it cannot be made.
        """
        return model

    def _kept(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        options: dict[str, JsonValue],
    ) -> list[str]:
        """Paths of the modules that stay in float; see ``resolve_kept``."""
        inputs = model.spec.inputs
        return resolve_kept(model.module, options, inputs=inputs, calibration=calibration)

    @abstractmethod
    def _made(self, work: TorchWork) -> nn.Module:
        """The quantized network.

        Raises:
            QuantizeError: the library refused, or nothing was quantized.
        """

    @abstractmethod
    def _write(self, made: nn.Module, work: TorchWork, out_dir: Path) -> Path:
        """Write the quantized network to a file under ``out_dir``."""


class TorchMethod(TorchFileMethod):
    """Writes a state that is put back into the structure of the network; see ``RestoringQuantizer``."""

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> nn.Module:
        """The structure around the float network with the file's state in it; see
        ``RestoringQuantizer.restore``."""
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            kept = remembered_kept(model.module, artifact.options)
            quantized = self._structure(model, artifact.options, kept)
            self._load(quantized, artifact.path)
        return quantized

    def _made(self, work: TorchWork) -> nn.Module:
        return self._structure(work.model, work.options, work.kept)

    @abstractmethod
    def _structure(
        self, model: LoadedModel, options: Mapping[str, JsonValue], kept: Sequence[str]
    ) -> nn.Module:
        """A network of the structure of the quantized one, whatever its ranges and weights are."""

    def _write(self, made: nn.Module, work: TorchWork, out_dir: Path) -> Path:  # noqa: ARG002
        path = out_dir / STATE_FILE
        self._save(made, path)
        return path

    def _save(self, module: nn.Module, path: Path) -> None:
        save_state(module, path)

    def _load(self, module: nn.Module, path: Path) -> None:
        load_state(module, path)
