"""Model source: a ``torch.export`` program (``.pt2``)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.hashing import check_sha256, files_sha256
from gate.models.pt2_archive import check_archive
from gate.models.weights import SHA256_SCHEMA

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


class Exported:
    """Opens a program that ``torch.export.save`` wrote, after ``check_archive`` has looked inside."""

    name: ClassVar[str] = "exported"
    produces: ClassVar[Format] = Format.EXPORTED
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "path": {"type": "string", "format": "path", "description": "torch.export file (.pt2)"},
            "sha256": {**SHA256_SCHEMA, "description": "demanded SHA-256 of the file"},
        },
        "required": ["path"],
    }

    def unavailable(self) -> str | None:
        """Why torch is not here, or None."""
        if find_spec("torch") is None:
            return "torch is not installed: pip install 'quantgate[torch]'"
        return None

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:  # noqa: ARG002 - nothing is drawn
        """Open the program; see ``ModelSource.load``."""
        import torch

        path = Path(spec.options["path"])
        if not path.is_file():
            raise ModelError(f"{path}: no such exported program")
        sha256 = files_sha256([path])
        check_sha256(sha256, spec.options.get("sha256"), what=path)
        check_archive(path)
        try:
            program = torch.export.load(path)
        except Exception as error:  # a reader of another release fails in many ways
            raise ModelError(
                f"{path}: torch {torch.__version__} cannot open it ({type(error).__name__}: {error}); "
                "export it again with this release"
            ) from error
        return LoadedModel(
            format=Format.EXPORTED,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            spec=spec,
            module=program,
            path=path,
        )


def program_module(program: ExportedProgram) -> nn.Module:
    """The program as a module in evaluation mode, without the generated code that checks input shapes
    (its expressions come from the file)."""
    unguarded = "check_guards" in inspect.signature(program.module).parameters
    module: Any = program.module(check_guards=False) if unguarded else program.module()
    # train() and eval() of an exported module raise; the mode was fixed when it was exported.
    for part in module.modules():
        part.training = False
    return module  # type: ignore[no-any-return]
