"""The user's own quantization: a trusted ``package.module:callable``.

``entry(model, calibration, options, target)`` is called with a copy of the float ``nn.Module`` (or the
path of the ONNX file), a callable that gives the calibration batches anew each time (None where there
are none), the spec's ``options`` and the ``TargetSpec``. It returns the quantized ``nn.Module`` or, with
``output: onnx``, an ``onnx.ModelProto`` or the path of a file, which is copied.

Of a module the state is written. To open it again the entry is called with ``calibration=None`` and the
state is put into what it returns, strictly: without calibration it must build the same structure.
That is tried at once, so a candidate that cannot be opened again is refused when it is made.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, TargetSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.loading import seeded
from gate.models.tensors import example_inputs, name_outputs
from gate.models.torch_runtime import engine_of, quiet_torch_ao, torch_settings, torch_unavailable
from gate.quantize._entry import entry_of
from gate.quantize.base import CalibrationBatches, QuantizeError, file_artifact
from gate.spec.entries import ENTRY_PATTERN

ONNX_FILE = "model.onnx"
_SEED = 0
"""Of the structure that a state is put into: whatever is drawn there is overwritten."""


class PythonQuantizer:
    """Calls an entry and keeps what it makes."""

    name: ClassVar[str] = "python"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.TORCH_MODULE, Format.ONNX})
    produces: ClassVar[Format | None] = None
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "entry": {
                "type": "string",
                "pattern": ENTRY_PATTERN,
                "description": "package.module:callable(model, calibration, options, target)",
            },
            "options": {
                "type": "object",
                "default": {},
                "description": "handed to the entry as it is",
            },
            "output": {
                "enum": ["torch-module", "onnx"],
                "default": "torch-module",
                "description": "what the entry makes",
            },
        },
        "required": ["entry"],
    }

    def unavailable(self) -> str | None:
        """Why torch is not here, or None; what else the entry needs it must say itself."""
        return torch_unavailable()

    def versions(self) -> Mapping[str, str]:
        """What an entry is likely to use, where it is installed."""
        found = {}
        for package in ("torch", "torchao", "onnx", "onnxruntime"):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
        return found

    def output_format(self, options: Options, source: Format) -> Format:  # noqa: ARG002 - the spec alone decides
        """Format of the candidate, by the spec."""
        return Format.ONNX if options.get("output") == "onnx" else Format.TORCH_QUANTIZED

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
        """Call the entry and write what it made; see ``Quantizer.quantize``."""
        complete = with_defaults(options, self.options_schema)
        made = _call(model, calibration, complete, target, seed)
        if complete["output"] == "onnx":
            return self._onnx(made, model, complete, out_dir)
        from torch import nn

        from gate.quantize._torch_state import STATE_FILE, save_state

        if not isinstance(made, nn.Module):
            raise QuantizeError(
                f"'{complete['entry']}' returned a {type(made).__name__}, expected an nn.Module "
                "(say 'output: onnx' for an ONNX model)"
            )
        path = out_dir / STATE_FILE
        save_state(made.eval(), path)
        artifact = file_artifact(
            path, kind=Format.TORCH_QUANTIZED, producer=self.name, options=complete
        )
        self._check(made, model, artifact, target)
        return artifact

    def restore(self, model: LoadedModel, artifact: Artifact, *, target: TargetSpec) -> Any:
        """Call the entry without calibration and put the state back; see the module's docstring."""
        from torch import nn

        from gate.quantize._torch_state import load_state

        module = _call(model, None, artifact.options, target, _SEED)
        if not isinstance(module, nn.Module):
            raise QuantizeError(
                f"'{artifact.options['entry']}' returned a {type(module).__name__} when called "
                "without calibration, expected an nn.Module"
            )
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            load_state(module.eval(), artifact.path)
        return module

    def _check(self, made: Any, model: LoadedModel, artifact: Artifact, target: TargetSpec) -> None:
        entry = artifact.options["entry"]
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            try:
                wanted = _outputs(made, model)
            except Exception as error:  # the user's module may raise anything
                raise QuantizeError(
                    f"'{entry}': the module that it made cannot run on inputs of the model "
                    f"({type(error).__name__}: {error})"
                ) from error
            if model.format is Format.TORCH_MODULE and _equal(
                wanted, _outputs(model.module, model)
            ):
                raise QuantizeError(
                    f"'{entry}' quantized nothing: its module computes exactly what the float model does"
                )
            try:
                restored = self.restore(model, artifact, target=target)
            except QuantizeError as error:
                raise QuantizeError(
                    f"'{entry}', called again without calibration, does not build the structure that its "
                    f"state fits: {error}"
                ) from error
            if not _equal(wanted, _outputs(restored, model)):
                raise QuantizeError(
                    f"'{entry}': the module put together again from its state computes something else; "
                    "everything that calibration decides must be in state_dict()"
                )

    def _onnx(
        self, made: Any, model: LoadedModel, options: dict[str, JsonValue], out_dir: Path
    ) -> Artifact:
        from gate.models.onnx_files import inspect_onnx
        from gate.quantize._onnx import onnx_artifact

        path = out_dir / ONNX_FILE
        try:
            if isinstance(made, str | Path):
                parts = inspect_onnx(Path(made))
                if parts.external:
                    raise QuantizeError(
                        f"'{options['entry']}' wrote external data; save a single file or return the "
                        "ModelProto"
                    )
                shutil.copyfile(parts.path, path)
            elif hasattr(made, "SerializeToString"):
                path.write_bytes(made.SerializeToString(deterministic=True))
            else:
                raise QuantizeError(
                    f"'{options['entry']}' returned a {type(made).__name__}, expected an "
                    "onnx.ModelProto or the path of an ONNX file"
                )
            parts = inspect_onnx(path)
        except ModelError as error:
            raise QuantizeError(f"'{options['entry']}': {error}") from error
        if parts.sha256 == model.sha256:
            raise QuantizeError(
                f"'{options['entry']}' quantized nothing: it returned the float file"
            )
        return onnx_artifact(parts, producer=self.name, options=options)


def _call(
    model: LoadedModel,
    calibration: CalibrationBatches | None,
    options: Mapping[str, JsonValue],
    target: TargetSpec,
    seed: int,
) -> Any:
    function = entry_of(options["entry"])
    given = model.path if model.format is Format.ONNX else copy.deepcopy(model.module)
    with (
        seeded(seed),
        quiet_torch_ao(),
        torch_settings(engine=engine_of(target.options), threads=target.threads),
    ):
        return function(given, calibration, dict(options["options"]), target)


def _outputs(module: Any, model: LoadedModel) -> Any:
    import torch

    with torch.inference_mode():
        return name_outputs(module(*example_inputs(model.spec.inputs)))


def _equal(one: Any, other: Any) -> bool:
    import torch

    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
