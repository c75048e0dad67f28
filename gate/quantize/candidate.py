"""Quantizer that makes nothing: an already quantized ONNX file, checked and taken as it is."""

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
    produces: ClassVar[Format | None] = Format.ONNX
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {
                "type": "string",
                "format": "path",
                "description": "Quantized ONNX file.",
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
        """Why ONNX files cannot be read here and how to get what it takes."""
        if find_spec("onnx") is None:
            return "onnx is not installed: pip install 'quantgate[onnxruntime]'"
        return None

    def versions(self) -> Mapping[str, str]:
        """Nothing decides the result but the file itself."""
        return {}

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
            QuantizeError: missing, no ONNX model, or of another digest than the spec demands.
        """
        from gate.models.base import ModelError
        from gate.models.hashing import check_sha256
        from gate.models.onnx_files import inspect_onnx

        try:
            parts = inspect_onnx(Path(options["path"]))
            check_sha256(parts.sha256, options.get("sha256"), what=parts.path)
        except ModelError as error:
            raise QuantizeError(str(error)) from error
        return Artifact(
            format=Format.ONNX,
            path=parts.path,
            sha256=parts.sha256,
            size_bytes=parts.size_bytes,
            producer=self.name,
            options=dict(options),
        )
