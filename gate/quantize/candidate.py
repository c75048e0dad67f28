"""Quantizer that makes nothing: an already quantized ONNX or LiteRT file, checked and taken as it is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.core.transform import TRANSFORM_PROPERTIES
from gate.quantize.base import CalibrationBatches, QuantizeError

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


class GivenCandidate:
    """The file that the spec names, with transforms where its interface differs."""

    name: ClassVar[str] = "candidate"
    accepts: ClassVar[frozenset[Format]] = frozenset(Format)
    produces: ClassVar[Format | None] = None
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {
                "type": "string",
                "format": "path",
                "description": "Quantized ONNX (.onnx) or LiteRT (.tflite) file.",
            },
            "sha256": {
                "type": "string",
                "pattern": "^[0-9a-fA-F]{64}$",
                "description": "Demanded digest, over external data files as well.",
            },
            **TRANSFORM_PROPERTIES,
        },
    }

    def unavailable(self) -> str | None:
        """Always works; what reads the file is asked when it is read."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Nothing decides the result but the file itself."""
        return {}

    def output_format(self, options: Options, source: Format) -> Format:  # noqa: ARG002 - the file alone decides
        """Format of the candidate, by the ending of its name."""
        return given_format(options)

    def quantize(
        self,
        model: LoadedModel,  # noqa: ARG002 - the file was made elsewhere
        calibration: CalibrationBatches | None,  # noqa: ARG002 - as above
        *,
        options: Options,
        target: TargetSpec,  # noqa: ARG002 - as above
        seed: int,  # noqa: ARG002 - as above
        out_dir: Path,  # noqa: ARG002 - the file stays where it is
    ) -> Artifact:
        """Check the file; see ``Quantizer.quantize``.

        Raises:
            QuantizeError: missing, no model of its format, or of another digest than the spec demands.
        """
        from gate.models.base import ModelError
        from gate.models.hashing import check_sha256

        path, kind = Path(options["path"]), given_format(options)
        try:
            sha256, size = _tflite(path) if kind is Format.TFLITE else _onnx(path)
            check_sha256(sha256, options.get("sha256"), what=path)
        except ModelError as error:
            raise QuantizeError(str(error)) from error
        return Artifact(
            format=kind,
            path=path,
            sha256=sha256,
            size_bytes=size,
            producer=self.name,
            options=dict(options),
        )


def given_format(options: Options) -> Format:
    """``tflite`` for a file of that ending, else ``onnx``."""
    ending = Path(str(options["path"])).suffix.lower()
    return Format.TFLITE if ending == ".tflite" else Format.ONNX


def _onnx(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of an ONNX file and its external data."""
    from gate.models.onnx_files import inspect_onnx

    if find_spec("onnx") is None:
        raise QuantizeError("onnx is not installed: pip install 'quantgate[onnxruntime]'")
    parts = inspect_onnx(path)
    return parts.sha256, parts.size_bytes


def _tflite(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a LiteRT file."""
    from gate.models.hashing import files_sha256
    from gate.models.tflite import litert_missing
    from gate.models.tflite_graph import read_tflite

    if reason := litert_missing():
        raise QuantizeError(reason)
    read_tflite(path)
    return files_sha256([path]), path.stat().st_size
