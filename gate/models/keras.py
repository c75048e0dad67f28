"""Model source: Keras models, built and converted in a TensorFlow process of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gate.core.artifact import Format
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.models import tensorflow
from gate.models.base import LoadedModel, ModelError
from gate.models.hashing import check_sha256, files_sha256
from gate.models.weights import SHA256_SCHEMA
from gate.spec.entries import ENTRY_PATTERN

_WAYS = ("path", "application", "entry")


class KerasModel:
    """A ``.keras`` file, a network of ``keras.applications``, or what a trusted entry builds."""

    name: ClassVar[str] = "keras"
    produces: ClassVar[Format] = Format.KERAS
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": [way]} for way in _WAYS],
        "properties": {
            "path": {
                "type": "string",
                "format": "path",
                "description": "Keras file (.keras); layers that carry code are refused",
            },
            "sha256": {**SHA256_SCHEMA, "description": "demanded SHA-256 of the file"},
            "application": {
                "type": "string",
                "pattern": "^[A-Z][A-Za-z0-9]*$",
                "description": "network of keras.applications: ResNet50, MobileNetV2 ...",
            },
            "entry": {
                "type": "string",
                "pattern": ENTRY_PATTERN,
                "description": "package.module:callable that returns a keras.Model",
            },
            "kwargs": {
                "type": "object",
                "description": "keyword arguments of the application or the callable",
            },
            "weights": {
                "type": "object",
                "additionalProperties": False,
                "required": ["path"],
                "properties": {
                    "path": {
                        "type": "string",
                        "format": "path",
                        "description": "weights that Keras saved (.weights.h5); else drawn from run.seed",
                    },
                    "sha256": {**SHA256_SCHEMA, "description": "demanded SHA-256 of the file"},
                },
            },
        },
    }

    def unavailable(self) -> str | None:
        """Why TensorFlow is not here, or None."""
        return tensorflow.missing()

    def load(self, spec: ModelSpec, *, seed: int) -> LoadedModel:
        """Check the file, or have the model built once and described; see ``ModelSource.load``."""
        options = spec.options
        if "path" in options:
            path = Path(options["path"])
            if not path.is_file() or path.suffix != ".keras":
                raise ModelError(f"{path}: no such Keras file; expected one that ends in .keras")
            sha256 = files_sha256([path])
            check_sha256(sha256, options.get("sha256"), what=path)
            return LoadedModel(
                format=Format.KERAS,
                sha256=sha256,
                size_bytes=path.stat().st_size,
                spec=spec,
                path=path,
            )
        recipe = _recipe(options, seed)
        found = tensorflow.ask("describe", recipe)
        return LoadedModel(
            format=Format.KERAS,
            sha256=found["sha256"],
            size_bytes=found["bytes"],
            spec=spec,
            module=recipe,
        )


def _recipe(options: Mapping[str, JsonValue], seed: int) -> dict[str, JsonValue]:
    """What the process builds the model from.

    Raises:
        ModelError: an entry that is not trusted, or weights that are not those of the spec.
    """
    from gate.spec.entries import EntryError, check_entry
    from gate.spec.project import project_root

    recipe: dict[str, JsonValue] = {"seed": seed, "kwargs": options.get("kwargs", {})}
    if "entry" in options:
        try:
            trusted = check_entry(options["entry"])
        except EntryError as error:
            raise ModelError(str(error)) from error
        recipe |= {
            "entry": options["entry"],
            "root": str(project_root()),
            "trusted": list(trusted),
        }
    else:
        recipe["application"] = options["application"]
    if weights := options.get("weights"):
        path = Path(weights["path"])
        check_sha256(files_sha256([path]), weights.get("sha256"), what=path)
        recipe["weights"] = str(path)
    return recipe


def input_names(model: LoadedModel) -> list[str]:
    """Names that the spec gives to a Keras model's inputs, in the model's order.

    Raises:
        ModelError: they are not those of the model; a single one may have another name.
    """
    return [one["name"] for one in _inputs(model)]


def write_tflite(model: LoadedModel, path: Path, *, mode: str, **request: JsonValue) -> None:
    """Convert a Keras model.

    Args:
        model: of format ``keras``.
        path: where the file is written.
        mode: ``float32``, ``dynamic``, ``float16``, ``int8`` or ``int8-int16``.
        request: further keys of ``convert``; see :func:`gate.models.tensorflow.ask`.

    Raises:
        ModelError: the converter refuses the model.
    """
    recipe = tensorflow.recipe_of(model)
    tensorflow.ask("convert", recipe, out=str(path), inputs=_inputs(model), mode=mode, **request)


def _inputs(model: LoadedModel) -> list[dict[str, Any]]:
    """Name and shape of each input as the spec says; an axis that neither side fixes is None."""
    declared = model.spec.inputs
    own = tensorflow.ask("describe", tensorflow.recipe_of(model))["inputs"]
    names = [one["name"] for one in own]
    if len(own) == len(declared) == 1:
        names = list(declared)
    if set(names) != set(declared):
        raise ModelError(
            f"{model.spec.id}: the Keras model's inputs are {', '.join(sorted(names))}; the spec"
            f" declares {', '.join(sorted(declared))}"
        )
    found = []
    for name, one in zip(names, own, strict=True):
        shape = declared[name].shape
        fits = len(shape) == len(one["shape"]) and all(
            not isinstance(ours, int) or theirs in (None, ours)
            for ours, theirs in zip(shape, one["shape"], strict=True)
        )
        if not fits:
            raise ModelError(
                f"{model.spec.id}: input '{name}' has shape {one['shape']} in Keras, the spec says"
                f" {list(shape)}"
            )
        sizes = [
            ours if isinstance(ours, int) else theirs
            for ours, theirs in zip(shape, one["shape"], strict=True)
        ]
        found.append({"name": name, "shape": sizes})
    return found
