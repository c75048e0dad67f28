"""Quantizer: TensorFlow's LiteRT converter, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, TargetSpec
from gate.models import tensorflow
from gate.models.tflite import litert_missing
from gate.quantize.base import (
    CalibrationBatches,
    OptionsError,
    QuantizeError,
    file_artifact,
    refusal,
)

if TYPE_CHECKING:
    from gate.models.base import LoadedModel

MODEL_FILE = "model.tflite"
CALIBRATED = frozenset({"int8", "int8-int16"})
"""Modes that take the ranges of activations from samples."""
_REDUCED = {
    "dynamic": ("int8",),
    "float16": ("float16",),
    "int8": ("int8",),
    "int8-int16": ("int8",),
}
"""Mode -> element types that at least one stored weight must have."""


class TfliteQuantizer:
    """``tf.lite.TFLiteConverter`` on a Keras model: ``Optimize.DEFAULT`` and what is chosen beside it."""

    name: ClassVar[str] = "tflite"
    accepts: ClassVar[frozenset[Format]] = frozenset({Format.KERAS})
    produces: ClassVar[Format | None] = Format.TFLITE
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "mode": {
                "enum": ["dynamic", "float16", "int8", "int8-int16"],
                "default": "dynamic",
                "description": "dynamic: int8 weights, activations quantized at run time; float16:"
                " weights in half precision; int8: both calibrated; int8-int16: 16-bit activations",
            },
            "io": {
                "enum": ["float32", "int8", "uint8", "int16"],
                "default": "float32",
                "description": "element type of inputs and outputs; of calibrated modes only",
            },
            "per_channel": {
                "type": "boolean",
                "default": True,
                "description": "one scale a channel of the weights of convolutions",
            },
            "float_fallback": {
                "type": "boolean",
                "default": False,
                "description": "leave operators without an integer kernel in floating point, where"
                " the converter would refuse them",
            },
        },
    }

    def unavailable(self) -> str | None:
        """Why TensorFlow or LiteRT is not here and how to get it; None where both are."""
        return tensorflow.missing() or litert_missing()

    def versions(self) -> Mapping[str, str]:
        """TensorFlow and Keras, wherever they are installed."""
        return tensorflow.versions()

    def calibrates(self, options: Options) -> bool:
        """Whether these options need calibration samples."""
        return options.get("mode", "dynamic") in CALIBRATED

    def refused(self, options: Options, target: TargetSpec) -> tuple[str, str] | None:  # noqa: ARG002
        """See ``RefusingQuantizer.refused``."""
        return refusal(lambda: self._completed(options))

    def _completed(self, options: Options) -> dict[str, JsonValue]:
        complete = with_defaults(options, self.options_schema)
        io, mode = complete["io"], complete["mode"]
        if io != "float32" and mode not in CALIBRATED:
            raise OptionsError(f"io: {io} needs mode int8 or int8-int16, not {mode}", option="io")
        return complete

    def quantize(
        self,
        model: LoadedModel,
        calibration: CalibrationBatches | None,
        *,
        options: Options,
        target: TargetSpec,  # noqa: ARG002 - one file for all kernels
        seed: int,  # noqa: ARG002 - nothing is drawn
        out_dir: Path,
    ) -> Artifact:
        """Convert; see ``Quantizer.quantize``."""
        from gate.models.base import ModelError
        from gate.models.keras import write_tflite

        complete = self._completed(options)
        mode, path = complete["mode"], out_dir / MODEL_FILE
        with tempfile.TemporaryDirectory(prefix="gate-calibration-") as folder:
            request = {key: complete[key] for key in ("io", "per_channel", "float_fallback")}
            if mode in CALIBRATED:
                request["calibration"] = {"batches": _written(calibration, Path(folder))}
            try:
                write_tflite(model, path, mode=mode, **request)
            except ModelError as error:
                raise QuantizeError(str(error)) from error
        _check(path, mode)
        return file_artifact(path, kind=Format.TFLITE, producer=self.name, options=complete)


def _written(calibration: CalibrationBatches | None, folder: Path) -> list[dict[str, str]]:
    """Calibration batches as ``.npy`` files: a mapping of input names to files each."""
    import numpy as np

    if calibration is None:
        raise QuantizeError("this mode needs calibration samples; give data.calibration")
    batches = []
    for number, batch in enumerate(calibration()):
        files = {}
        for index, (name, value) in enumerate(batch.items()):
            file = folder / f"{number}-{index}.npy"
            np.save(file, value, allow_pickle=False)
            files[name] = str(file)
        batches.append(files)
    if not batches:
        raise QuantizeError("there is no calibration sample")
    return batches


def _check(path: Path, mode: str) -> None:
    """The converter leaves what it cannot quantize as it is, and says nothing.

    Raises:
        QuantizeError: no stored weight has the type that the mode is for.
    """
    from gate.models.tflite_graph import read_tflite

    graph = read_tflite(path)
    stored = {tensor.dtype for tensor in graph.tensors if tensor.constant}
    if stored.isdisjoint(_REDUCED[mode]):
        raise QuantizeError(
            f"mode {mode} quantized nothing: no weight in the file is stored as"
            f" {' or '.join(_REDUCED[mode])} (the converter leaves weights of fewer than 1024"
            " elements in floating point)"
        )
