"""Backend: Keras itself, in the TensorFlow process. What converted models are checked against."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gate.backends import isa
from gate.backends.base import BackendError
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.environment import Environment
from gate.core.layer import LayerRow, TensorInfo
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.models import tensorflow
from gate.models.base import ModelError

if TYPE_CHECKING:
    from gate.backends.base import Session
    from gate.models.base import LoadedModel


class KerasSession:
    """One Keras model; every call goes through files to the TensorFlow process and back."""

    channels_last: ClassVar[bool] = True

    def __init__(self, recipe: Mapping[str, JsonValue], names: Sequence[str]) -> None:
        """``names`` are those that the spec gives to the inputs, in the model's order."""
        self._recipe = recipe
        self._names = names
        self._about = _asked("describe", recipe)

    def run(self, inputs: TensorMap) -> TensorMap:
        """See ``Session.run``."""
        return dict(self._outputs(inputs))

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """See ``Session.layers``: Keras layers, none of them fused; shapes as Keras declares them."""
        batch = len(next(iter(inputs.values())))
        return tuple(self._row(layer, batch) for layer in self._about["layers"])

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """See ``Session.capture``; the files of all outputs are written first and read one by one."""
        known = {layer["name"] for layer in self._about["layers"]}
        wanted = [layer["name"] for layer in self._about["layers"] if layer["name"] in names]
        if known.isdisjoint(wanted):
            return
        yield from self._outputs(inputs, wanted)

    def packed_bytes(self) -> int | None:
        """Not told: TensorFlow keeps what it likes."""
        return None

    def _outputs(
        self, inputs: TensorMap, capture: Sequence[str] = ()
    ) -> Iterator[tuple[str, Array]]:
        import numpy as np

        self._check(inputs)
        with tempfile.TemporaryDirectory(prefix="gate-keras-") as folder:
            files = [str(Path(folder) / f"input-{i}.npy") for i in range(len(self._names))]
            for name, file in zip(self._names, files, strict=True):
                np.save(file, inputs[name], allow_pickle=False)
            found = _asked("run", self._recipe, inputs=files, out=folder, capture=list(capture))
            for name, file in found["outputs"]:
                value = np.load(file, allow_pickle=False)
                yield name, value if value.dtype == np.float32 else value.astype(np.float32)

    def _check(self, inputs: TensorMap) -> None:
        if set(inputs) != set(self._names):
            raise BackendError(
                f"the Keras model's inputs are {', '.join(sorted(self._names))}; given"
                f" {', '.join(sorted(inputs)) or 'none'}"
            )
        for name, about in zip(self._names, self._about["inputs"], strict=True):
            shape = inputs[name].shape
            fits = len(shape) == len(about["shape"]) and all(
                theirs in (None, ours) for ours, theirs in zip(shape, about["shape"], strict=True)
            )
            if not fits:
                raise BackendError(
                    f"the Keras model's input '{name}' has shape {about['shape']}, given {list(shape)}"
                )

    @staticmethod
    def _row(layer: Mapping[str, Any], batch: int) -> LayerRow:
        outputs = tuple(
            TensorInfo(
                shape=tuple(
                    batch if size < 0 and axis == 0 else size
                    for axis, size in enumerate(out["shape"])
                ),
                dtype=out["dtype"],
            )
            for out in layer["outputs"]
        )
        return LayerRow(
            name=layer["name"],
            op=layer["op"],
            computes=layer["computes"],
            quantized=False,
            inputs=(),
            outputs=outputs,
            params=layer["params"],
            macs=layer["macs"],
            capture=layer["name"],
        )


class KerasBackend:
    """Keras models as their source gives them; slow, and timed by nobody who wants a time."""

    name: ClassVar[str] = "keras"
    formats: ClassVar[frozenset[Format]] = frozenset({Format.KERAS})
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }

    def unavailable(self, target: TargetSpec | None = None) -> str | None:  # noqa: ARG002 - one engine
        """Why there is no TensorFlow, or None."""
        return tensorflow.missing()

    def environment(self, target: TargetSpec) -> Environment:
        """What can change numbers here."""
        return isa.environment(
            backend=self.name,
            engine="tensorflow",
            threads=target.threads,
            versions=tensorflow.versions(),
        )

    @contextmanager
    def open_reference(self, model: LoadedModel, *, target: TargetSpec) -> Iterator[Session]:  # noqa: ARG002 - no options
        """Open a Keras model.

        Raises:
            BackendError: it is none, or Keras refuses it.
        """
        if model.format is not Format.KERAS:
            raise BackendError(f"Keras opens Keras models, not {model.format.value}")
        yield _opened(model, tensorflow.recipe_of(model))

    @contextmanager
    def open_candidate(
        self,
        artifact: Artifact,
        *,
        model: LoadedModel,
        target: TargetSpec,  # noqa: ARG002 - no options
    ) -> Iterator[Session]:
        """Open a Keras file.

        Raises:
            BackendError: it is none, or Keras refuses it.
        """
        if artifact.format is not Format.KERAS:
            raise BackendError(f"Keras opens Keras models, not {artifact.format.value}")
        yield _opened(model, {"path": str(artifact.path)})


def _opened(model: LoadedModel, recipe: Mapping[str, JsonValue]) -> KerasSession:
    from gate.models.keras import input_names

    try:
        return KerasSession(recipe, input_names(model))
    except ModelError as error:
        raise BackendError(str(error)) from error


def _asked(do: str, recipe: Mapping[str, JsonValue], **request: JsonValue) -> dict[str, Any]:
    try:
        return tensorflow.ask(do, recipe, **request)
    except ModelError as error:
        raise BackendError(str(error)) from error
