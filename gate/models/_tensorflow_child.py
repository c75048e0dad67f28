"""The TensorFlow process: builds Keras models, converts them, runs them. A script of its own.

``python _tensorflow_child.py IDLE_SECONDS`` reads one JSON request a line and answers each with one
line. It imports nothing of the gate, so that any interpreter with TensorFlow in it will do. It ends with
its standard input, or when nobody asked for IDLE_SECONDS.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMPUTE = (
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "GRU",
    "LSTM",
    "MultiHeadAttention",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
)
_STEPS = ("GRU", "LSTM", "SimpleRNN")


class Refused(Exception):  # noqa: N818 - what the parent tells the user
    """A request that cannot be met; the message is for the user."""


class Builder:
    """Builds models from recipes and keeps the last one, and its form for the converter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recipe = ""
        self._model: Any = None
        self._exported = ""

    def __call__(self, recipe: dict[str, Any]) -> Any:
        """The model of a recipe, the same each time.

        Raises:
            Refused: the file, the application or the entry gives no model.
        """
        if "path" in recipe and not Path(recipe["path"]).is_file():
            raise Refused(f"{recipe['path']}: no such Keras file")
        import keras

        text = json.dumps(_identity(recipe), sort_keys=True)
        if text == self._recipe:
            return self._model
        self._recipe = self._exported = ""
        keras.utils.clear_session()
        keras.utils.set_random_seed(recipe.get("seed", 0))
        model = _made(keras, recipe)
        if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
            raise Refused(f"{_of(recipe)} gives no built functional or sequential Keras model")
        if weights := recipe.get("weights"):
            try:
                model.load_weights(weights)
            except Exception as error:  # readers of a damaged file raise anything
                raise Refused(f"{weights}: does not fit the model: {error}") from error
        self._recipe, self._model = text, model
        return model

    def exported(self, inputs: list[dict[str, Any]]) -> Path:
        """The last model as a saved model whose signature has the names and shapes of ``inputs``."""
        import tensorflow as tf

        text = json.dumps(inputs)
        folder = self._folder / "exported"
        if text != self._exported:
            shutil.rmtree(folder, ignore_errors=True)
            module = tf.Module()
            module.model = self._model
            # Without these, variables stay variables, and nothing is folded into anything.
            module.kept = [variable.value for variable in self._model.variables]
            signature = _served(tf, self._model, inputs)
            tf.saved_model.save(module, str(folder), signatures=signature)
            self._exported = text
        return folder


def _identity(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe; of a file, what it holds and not where it lies."""
    if "path" not in recipe:
        return recipe
    return {"file": hashlib.sha256(Path(recipe["path"]).read_bytes()).hexdigest()}


def _made(keras: Any, recipe: dict[str, Any]) -> Any:
    if path := recipe.get("path"):
        try:
            # safe_mode refuses layers that carry code.
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # readers of a damaged file raise anything
            raise Refused(f"{path}: Keras {keras.__version__} cannot open it: {error}") from error
    kwargs = recipe.get("kwargs", {})
    try:
        if "application" in recipe:
            return _application(keras, recipe["application"])(weights=None, **kwargs)
        return _entry(recipe)(**kwargs)
    except Refused:
        raise
    except Exception as error:  # the user's code may raise anything
        raise Refused(f"{_of(recipe)} raised {type(error).__name__}: {error}") from error


def _application(keras: Any, name: str) -> Any:
    found = getattr(keras.applications, name, None)
    if not callable(found):
        raise Refused(f"keras.applications has no model '{name}'")
    return found


def _entry(recipe: dict[str, Any]) -> Any:
    name, _, attribute = recipe["entry"].partition(":")
    if recipe["root"] not in sys.path:
        sys.path.insert(0, recipe["root"])
    found = getattr(importlib.import_module(name), attribute, None)
    home = getattr(found, "__module__", "")
    trusted = any(home == t or home.startswith(f"{t}.") for t in recipe["trusted"])
    if not callable(found) or not trusted:
        raise Refused(f"'{recipe['entry']}' is no callable that a trusted module defines")
    return found


def _of(recipe: dict[str, Any]) -> str:
    return next(str(recipe[k]) for k in ("path", "application", "entry") if k in recipe)


def describe(model: Any, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - one signature
    """Identity, bytes of the weights, inputs, layers."""
    digest = hashlib.sha256(model.to_json().encode())
    size = 0
    for weight in model.weights:
        value = weight.numpy()
        digest.update(f"{weight.path}:{value.dtype}:{value.shape}\0".encode())
        digest.update(value.tobytes())
        size += value.nbytes
    return {
        "sha256": digest.hexdigest(),
        "bytes": size,
        "inputs": [
            {"name": one.name, "shape": list(one.shape), "dtype": str(one.dtype)}
            for one in model.inputs
        ],
        "layers": [row for layer in model.layers if (row := _layer(layer)) is not None],
    }


def _layer(layer: Any) -> dict[str, Any] | None:
    try:
        outputs = layer.output
    except (AttributeError, ValueError):
        return None  # called more than once: there is no one output
    kind = type(layer).__name__
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    if kind == "InputLayer" or not outputs:
        return None
    kernels = [w for w in layer.weights if len(w.shape) > 1]
    return {
        "name": layer.name,
        "op": kind,
        "computes": kind in _COMPUTE,
        "outputs": [
            {"shape": [*map(_size, one.shape)], "dtype": str(one.dtype)} for one in outputs
        ],
        "params": sum(_count(w.shape) for w in kernels),
        "macs": _macs(layer, kind, kernels, outputs[0]) if kind in _COMPUTE else 0,
    }


def _macs(layer: Any, kind: str, kernels: list[Any], output: Any) -> int:
    params = sum(_count(w.shape) for w in kernels)
    places = _count(output.shape[1:-1])
    if kind in _STEPS:
        return params * int(layer.input.shape[1] or 1)
    if kind.endswith("Transpose"):
        places = _count(layer.input.shape[1:-1])
    # Every weight is used once a place; a depthwise one, too: it has one kernel a channel.
    return places * params


def _count(shape: Any) -> int:
    return math.prod(int(size or 1) for size in shape)


def _size(size: int | None) -> int:
    return -1 if size is None else int(size)


def convert(builder: Builder, request: dict[str, Any]) -> dict[str, Any]:
    """Write a ``.tflite`` file; see ``gate.models.tensorflow`` for the keys of a request."""
    import tensorflow as tf

    folder = builder.exported(request["inputs"])
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    _configure(tf, converter, request)
    try:
        content = converter.convert()
    except Exception as error:  # the converter raises anything
        raise Refused(f"the TensorFlow converter refuses the model: {error}") from error
    Path(request["out"]).write_bytes(content)
    return {}


def _served(tf: Any, model: Any, inputs: list[dict[str, Any]]) -> Any:
    names = [one["name"] for one in inputs]

    def serve(**given: Any) -> dict[str, Any]:
        values = [given[name] for name in names]
        return named(model(values[0] if len(values) == 1 else values, training=False))

    specs = {
        one["name"]: tf.TensorSpec(one["shape"], own.dtype, name=one["name"])
        for one, own in zip(inputs, model.inputs, strict=True)
    }
    return tf.function(serve).get_concrete_function(**specs)


def named(outputs: Any) -> dict[str, Any]:
    """Outputs under the names that the gate gives them."""
    if isinstance(outputs, dict):
        return outputs
    if isinstance(outputs, list | tuple):
        return {f"output_{index}": value for index, value in enumerate(outputs)}
    return {"output": outputs}


def _configure(tf: Any, converter: Any, request: dict[str, Any]) -> None:
    mode = request["mode"]
    if mode == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if not request.get("per_channel", True):
        converter._experimental_disable_per_channel = True
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode not in ("int8", "int8-int16"):
        return
    sets = tf.lite.OpsSet
    name = {
        "int8": "TFLITE_BUILTINS_INT8",
        "int8-int16": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
    }[mode]
    fallback = [sets.TFLITE_BUILTINS] if request.get("float_fallback") else []
    converter.target_spec.supported_ops = [getattr(sets, name), *fallback]
    converter.representative_dataset = lambda: _samples(request["calibration"])
    io = getattr(tf, request.get("io", "float32"))
    converter.inference_input_type = converter.inference_output_type = io


def _samples(calibration: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One sample at a time, as the converter wants them."""
    import numpy as np

    for batch in calibration["batches"]:
        arrays = {n: np.load(file, allow_pickle=False) for n, file in batch.items()}
        for index in range(len(next(iter(arrays.values())))):
            yield {name: array[index : index + 1] for name, array in arrays.items()}


def run(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run one batch; outputs, or those of the layers ``capture``, are written as ``.npy`` files."""
    import keras
    import numpy as np

    values = [np.load(file, allow_pickle=False) for file in request["inputs"]]
    if capture := request.get("capture"):
        chosen = [model.get_layer(name).output for name in capture]
        firsts = [one[0] if isinstance(one, list | tuple) else one for one in chosen]
        # A list of outputs keeps its order; names of layers may hold anything.
        found = keras.Model(model.inputs, firsts)(_given(values), training=False)
        pairs = list(zip(capture, found if isinstance(found, list) else [found], strict=True))
    else:
        pairs = list(named(model(_given(values), training=False)).items())
    files = []
    for index, (name, value) in enumerate(pairs):
        file = Path(request["out"]) / f"{index}.npy"
        np.save(file, np.asarray(value), allow_pickle=False)
        files.append([name, str(file)])
    return {"outputs": files}


def _given(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def save(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Write the model as a ``.keras`` file."""
    model.save(request["out"])
    return {}


DO = {"describe": describe, "run": run, "save": save}


def answer(builder: Builder, line: bytes) -> dict[str, Any]:
    """Do what one request asks for."""
    request = json.loads(line)
    try:
        model = builder(request["model"])
        if request["do"] == "convert":
            return {"ok": convert(builder, request)}
        return {"ok": DO[request["do"]](model, request)}
    except Refused as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - told to the parent, which names what it asked
        return {"refused": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer requests until there are no more."""
    # What a library prints must not be taken for an answer.
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    idle = float(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="gate-keras-") as home:
        os.environ["KERAS_HOME"] = home
        builder, pending = Builder(Path(home)), b""
        while select.select([0], [], [], idle)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                os.write(channel, json.dumps(answer(builder, line)).encode() + b"\n")


if __name__ == "__main__":
    main()
