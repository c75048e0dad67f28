"""No quantization: the float model itself as the candidate, on another backend or engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.conversions import convert, convertible
from gate.quantize.base import CalibrationBatches, QuantizeError

STATE_FILE = "model.pt"


class NoQuantizer:
    """Keeps the model's format where the target opens it, and converts it where not."""

    name: ClassVar[str] = "none"
    accepts: ClassVar[frozenset[Format]] = frozenset(
        {Format.TORCH_MODULE, Format.EXPORTED, Format.ONNX, Format.TFLITE, Format.KERAS}
    )
    produces: ClassVar[Format | None] = None
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }

    def unavailable(self) -> str | None:
        """Nothing is needed: what a conversion needs is asked of the model's source."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Nothing takes part."""
        return {}

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,  # noqa: ARG002 - nothing is calibrated
        *,
        options: Options,
        target: TargetSpec,
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """Describe the model's file, writing one where it has none.

        A module's file holds its state dict; a session opens the module itself.
        """
        try:
            model = _in_format_of(target, model, out_dir)
        except ModelError as error:
            raise QuantizeError(str(error)) from error
        path, size = model.path, model.size_bytes
        sha256 = model.sha256
        if path is None and model.format is Format.KERAS:
            raise QuantizeError(
                "a Keras model that code builds has no file; save it and use 'path', or target litert"
            )
        if path is None:
            from gate.models.hashing import files_sha256

            path = out_dir / STATE_FILE
            _write(model.module, path)
            sha256, size = files_sha256([path]), path.stat().st_size
        return Artifact(
            format=model.format,
            path=path,
            sha256=sha256,
            size_bytes=size,
            producer=self.name,
            options=dict(options),
        )


def _in_format_of(target: TargetSpec, model: LoadedModel, out_dir: Path) -> LoadedModel:
    opens: frozenset[Format] = plugins.load("backends", target.backend).formats
    if model.format in opens:
        return model
    to = next((f for f in sorted(opens) if convertible(model.format, f)), None)
    if to is None:
        raise QuantizeError(
            f"{target.backend} opens {' or '.join(sorted(opens))}; a model of format {model.format} "
            "cannot become that"
        )
    return convert(model, to, out_dir=out_dir)


def _write(module: Any, path: Path) -> None:
    import torch

    # A program's state_dict is a mapping, a module's is a method.
    state: Any = module.state_dict
    tensors = state() if callable(state) else state
    torch.save({name: tensor.detach().clone() for name, tensor in tensors.items()}, path)
