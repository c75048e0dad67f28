"""Opening LiteRT interpreters: kernels, errors in words, batches, stored integers and real values."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.backends.base import BackendError
from gate.core.spec import TargetSpec
from gate.core.tensors import Array, TensorMap
from gate.models.base import ModelError
from gate.models.tflite_graph import read_bytes

KERNELS = {
    "xnnpack": "BUILTIN",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
"""Values of the target option ``kernels`` -> the runtime's resolvers."""

_OUTPUTS_FIELD = 8
"""Offset of ``SubGraph.outputs`` in its vtable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file and how to run it."""

    path: Path
    threads: int
    kernels: str
    """Key of :data:`KERNELS`."""

    @staticmethod
    def of(path: Path, target: TargetSpec) -> Source:
        """The file with a target's options."""
        kernels = str(target.options.get("kernels", "xnnpack"))
        return Source(path=path, threads=target.threads, kernels=kernels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of an open model."""

    index: int
    name: str
    shape: tuple[int, ...]
    """A dynamic axis is -1."""
    dtype: Any
    scale: float | None
    zero_point: int


class Model:
    """One interpreter, for any batch: of a dynamic batch axis it is resized, else fed piece by piece.

    Args:
        source: the file.
        content: in place of the file's own bytes.
        names: tensor -> name, in place of the file's own.

    Raises:
        BackendError: the runtime refuses the model.
    """

    def __init__(
        self, source: Source, content: bytes | None = None, names: Mapping[int, str] | None = None
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._source = source
        where = {"model_path": str(source.path)} if content is None else {"model_content": content}
        if content is None and not source.path.is_file():
            raise BackendError(f"{source.path}: no such LiteRT file")
        try:
            self._interpreter = Interpreter(
                **where,
                num_threads=source.threads,
                experimental_op_resolver_type=OpResolverType[KERNELS[source.kernels]],
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{source.path}: LiteRT cannot open it: {_told(error)}") from error
        names = self._signature() if names is None else names
        self.inputs = [_port(d, names) for d in self._interpreter.get_input_details()]
        self.outputs = [_port(d, names) for d in self._interpreter.get_output_details()]
        self._by_name = {port.name: port for port in self.inputs}
        self._sizes = {port.index: tuple(abs(n) for n in port.shape) for port in self.inputs}

    def stored(self, inputs: TensorMap, wanted: Sequence[int]) -> list[Array]:
        """Run one batch and return the tensors ``wanted``, as the model stores them.

        Raises:
            BackendError: inputs of other names, shapes or types, or a model that fails on them.
        """
        import numpy as np

        feeds = self._feeds(inputs)
        size = len(next(iter(feeds.values())))
        step = self._fixed_batch()
        if step is None or step == size:
            return self._invoke(feeds, wanted)
        if size % step:
            raise BackendError(
                f"{self._source.path}: takes batches of {step} only, and {size} is no multiple of it"
            )
        parts = [
            self._invoke({i: value[at : at + step] for i, value in feeds.items()}, wanted)
            for at in range(0, size, step)
        ]
        if any(part.ndim == 0 for part in parts[0]):
            raise BackendError(f"{self._source.path}: an output without a batch axis")
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _fixed_batch(self) -> int | None:
        """Samples of the one batch that the file was made for; None where it takes any."""
        sizes = {port.shape[0] for port in self.inputs if port.shape}
        return None if not sizes or min(sizes) < 0 else max(sizes)

    def _feeds(self, inputs: TensorMap) -> dict[int, Array]:
        if set(inputs) != set(self._by_name):
            raise BackendError(
                f"{self._source.path}: its inputs are {', '.join(sorted(self._by_name))}; given"
                f" {', '.join(sorted(inputs)) or 'none'}"
            )
        feeds = {}
        for name, value in inputs.items():
            port = self._by_name[name]
            fits = value.ndim == len(port.shape) and all(
                ours in (-1, theirs)
                for ours, theirs in list(zip(port.shape, value.shape, strict=True))[1:]
            )
            if not fits:
                raise BackendError(
                    f"{self._source.path}: input '{name}' has shape {list(port.shape)}, given"
                    f" {list(value.shape)}"
                )
            feeds[port.index] = self._typed(port, value)
        return feeds

    def _typed(self, port: Port, value: Array) -> Array:
        """As the file stores it: real values are quantized with the file's own scale."""
        import numpy as np

        if value.dtype == port.dtype:
            return np.ascontiguousarray(value)
        if value.dtype == np.float32 and port.scale is not None:
            return quantized(value, port.scale, port.zero_point, port.dtype)
        raise BackendError(
            f"{self._source.path}: input '{port.name}' is {np.dtype(port.dtype).name}, given"
            f" {value.dtype.name}"
        )

    def _invoke(self, feeds: Mapping[int, Array], wanted: Sequence[int]) -> list[Array]:
        interpreter = self._interpreter
        try:
            if any(self._sizes[index] != value.shape for index, value in feeds.items()):
                for index, value in feeds.items():
                    interpreter.resize_tensor_input(index, value.shape)
                    self._sizes[index] = value.shape
                interpreter.allocate_tensors()
            for index, value in feeds.items():
                interpreter.set_tensor(index, value)
            interpreter.reset_all_variables()  # a sequence begins anew with every batch
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in wanted]
        except (ValueError, RuntimeError) as error:
            self._sizes = dict.fromkeys(self._sizes, ())  # what is allocated now is not known
            raise BackendError(
                f"{self._source.path}: fails on these inputs: {_told(error)}"
            ) from error

    def _signature(self) -> dict[int, str]:
        signatures = self._interpreter._get_full_signature_list()
        if len(signatures) != 1:
            return {}
        (one,) = signatures.values()
        return {int(i): name for side in ("inputs", "outputs") for name, i in one[side].items()}


def quantized(value: Array, scale: float, zero_point: int, dtype: Any) -> Array:
    """``stored = clip(round(real / scale) + zero_point)``."""
    import numpy as np

    limits = np.iinfo(dtype)
    stored = np.rint(value / np.float32(scale)) + zero_point
    result: Array = np.clip(stored, limits.min, limits.max).astype(dtype)
    return result


def dequantized(value: Array, scale: Array, zero_point: Array) -> Array:
    """``real = scale * (stored - zero_point)`` in float32; the parameters broadcast against it."""
    import numpy as np

    real: Array = np.subtract(value, zero_point, dtype=np.float32)
    real *= scale
    return real


def with_outputs(path: Path, wanted: Sequence[int]) -> bytes:
    """The file's bytes, with the tensors ``wanted`` as the outputs of its main graph.

    A new vector is put behind the flatbuffer and the old one's offset led there, so that nothing
    else moves and constants keep their alignment.

    Raises:
        BackendError: the file is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        content = bytearray(read_bytes(path))
        table = schema.Model.GetRootAs(content, 0).Subgraphs(0)._tab
        field = table.Offset(_OUTPUTS_FIELD)
        if not field:
            raise BackendError(f"{path}: its graph has no output")
        content += bytes(-len(content) % 4)
        place = table.Pos + field
        struct.pack_into("<I", content, place, len(content) - place)
        content += struct.pack(f"<I{len(wanted)}i", len(wanted), *wanted)
    except (ModelError, struct.error, AttributeError, IndexError) as error:
        raise BackendError(f"{path}: cannot be observed: {error}") from error
    return bytes(content)


def _port(detail: Mapping[str, Any], names: Mapping[int, str]) -> Port:
    index = int(detail["index"])
    signature = detail["shape_signature"]
    shape = signature if len(signature) else detail["shape"]
    parameters = detail["quantization_parameters"]
    per_tensor = len(parameters["scales"]) == 1
    return Port(
        index=index,
        name=names.get(index, detail["name"]),
        shape=tuple(int(n) for n in shape),
        dtype=detail["dtype"],
        scale=float(parameters["scales"][0]) if per_tensor else None,
        zero_point=int(parameters["zero_points"][0]) if per_tensor else 0,
    )


def _told(error: Exception) -> str:
    return " ".join(str(error).split())
