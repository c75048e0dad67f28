"""Model source: a LiteRT (``.tflite``) file, with a declared transform where its inputs differ."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.core.transform import TRANSFORM_PROPERTIES, TensorTransform, parse_transforms
from gate.models.base import LoadedModel, ModelError
from gate.models.hashing import check_sha256, files_sha256
from gate.models.tflite_graph import TfliteGraph, read_tflite
from gate.models.weights import SHA256_SCHEMA

INSTALL = "ai-edge-litert is not installed: pip install 'quantgate[litert]'"


def litert_missing() -> str | None:
    """Why LiteRT files cannot be read here and how to get what it takes; None where they can."""
    return INSTALL if find_spec("ai_edge_litert") is None else None


class TfliteFile:
    """Takes a file as it is; its inputs bear the names of its signature, or of its tensors."""

    name: ClassVar[str] = "tflite"
    produces: ClassVar[Format] = Format.TFLITE
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "path": {"type": "string", "format": "path", "description": "LiteRT file (.tflite)"},
            "sha256": {**SHA256_SCHEMA, "description": "demanded SHA-256 of the file"},
            **TRANSFORM_PROPERTIES,
        },
        "required": ["path"],
    }

    def unavailable(self) -> str | None:
        """Why ai-edge-litert is not here, or None."""
        return litert_missing()

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:  # noqa: ARG002 - nothing is drawn
        """Parse the file; see ``ModelSource.load``."""
        path = Path(spec.options["path"])
        graph = read_tflite(path)
        sha256 = files_sha256([path])
        check_sha256(sha256, spec.options.get("sha256"), what=path)
        _check_inputs(graph, spec)
        return LoadedModel(
            format=Format.TFLITE,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            spec=spec,
            path=path,
        )


def _check_inputs(graph: TfliteGraph, spec: ModelSpec) -> None:
    transforms = parse_transforms(spec.options).inputs
    unknown = sorted(set(transforms) - set(spec.inputs))
    if unknown:
        raise ModelError(
            f"{graph.path}: a transform names input '{unknown[0]}', which the spec lacks"
        )
    found = {graph.name_of(index): graph.tensors[index] for index in graph.inputs}
    wanted = {
        transforms.get(name, TensorTransform()).rename or name: (name, declared)
        for name, declared in spec.inputs.items()
    }
    if set(found) != set(wanted):
        raise ModelError(
            f"{graph.path}: its inputs are {', '.join(sorted(found)) or 'none'}; the spec declares "
            f"{', '.join(sorted(wanted))}"
        )
    for name, (given, declared) in wanted.items():
        transform = transforms.get(given, TensorTransform())
        shape = declared.shape
        if transform.layout == "nhwc" and len(shape) == 4:
            shape = (shape[0], shape[2], shape[3], shape[1])
        tensor = found[name]
        # The batch is left out: a file of batch one is run sample by sample.
        fits = len(shape) == len(tensor.shape) and all(
            dynamic or not isinstance(ours, int) or ours == theirs
            for ours, theirs, dynamic in list(
                zip(shape, tensor.shape, tensor.dynamic, strict=True)
            )[1:]
        )
        if not fits:
            raise ModelError(
                f"{graph.path}: input '{name}' has shape {list(tensor.shape)}, the spec says "
                f"{list(shape)}"
            )
