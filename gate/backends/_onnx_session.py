"""Opening ONNX Runtime sessions: options, errors in words, extra outputs, the optimised graph."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gate.backends._onnx_graph import Graph
from gate.backends.base import BackendError
from gate.core.spec import TargetSpec

LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
"""Values of the target option ``graph_optimization`` -> the runtime's names, from least to most."""

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
_ERRORS_ONLY = 3
_NO_KERNEL = ("NOT_IMPLEMENTED", "is not a registered function/op", "No Op registered")
_TYPE = re.compile(r"tensor\((\w+)\)")
_PLAIN = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One ONNX file, parsed, and how to run it."""

    path: Path
    proto: Any
    """``ModelProto`` without its external data."""
    threads: int
    level: str
    """Key of :data:`LEVELS`."""

    @staticmethod
    def of(path: Path, target: TargetSpec) -> Source:
        """Check and parse a file.

        Raises:
            BackendError: it is no ONNX model, or its external data may not be read.
        """
        from gate.models.base import ModelError
        from gate.models.onnx_files import inspect_onnx

        try:
            proto = inspect_onnx(path).proto
        except ModelError as error:
            raise BackendError(str(error)) from error
        level = str(target.options.get("graph_optimization", "all"))
        return Source(path=path, proto=proto, threads=target.threads, level=level)


def runtime_version() -> str:
    """Version of the installed ONNX Runtime, whichever build of it is installed."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        import onnxruntime

        return str(onnxruntime.__version__)


def runtime_errors() -> tuple[type[Exception], ...]:
    """Everything that the runtime raises when a model cannot be opened or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail",
        "EngineError",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "ModelLoaded",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def open_session(source: Source) -> Any:
    """Session of the file as it is.

    Raises:
        BackendError: the runtime refuses it.
    """
    return _open(source, str(source.path), source.level)


def open_with_outputs(
    source: Source,
    names: Sequence[str],
    *,
    level: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Any:
    """Session whose outputs are the model's own, and the tensors ``names``.

    Args:
        source: the file.
        names: tensors of the main graph.
        level: optimisation level in place of the source's.
        shapes: where given, the inputs' axes are fixed to these, so that the runtime can tell the
            shapes of its outputs without a run.

    Raises:
        BackendError: the runtime refuses the model so extended.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(source.proto)
    del model.graph.value_info[:]  # may be stale, and is inferred anew
    if shapes is not None:
        for value in model.graph.input:
            if value.name in shapes:
                dims = value.type.tensor_type.shape.dim
                del dims[:]
                for size in shapes[value.name]:
                    dims.add().dim_value = size
        for value in model.graph.output:
            value.ClearField("type")
    own = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in own
    )
    return _open(source, model.SerializeToString(), level or source.level)


def open_part(source: Source, part: Any) -> Any:
    """Session of a model cut out of the file; it keeps little memory of its own between runs.

    Raises:
        BackendError: the runtime refuses it.
    """
    return _open(source, part.SerializeToString(), source.level, arena=False)


def optimised_graph(source: Source) -> Graph:
    """The graph that the runtime makes of the file, before kernels of one machine are chosen.

    Raises:
        BackendError: the runtime refuses the file.
    """
    import onnx

    levels = list(LEVELS)
    level = min(source.level, "extended", key=levels.index)
    with tempfile.TemporaryDirectory(prefix="gate-onnx-") as folder:
        written = Path(folder) / "optimised.onnx"
        _open(source, str(source.path), level, save=written)
        return Graph(onnx.load_model(str(written), load_external_data=False), Path(folder))


def numpy_type(told: str) -> str:
    """NumPy-style element type of what the runtime calls ``tensor(float)``; as told otherwise."""
    found = _TYPE.fullmatch(told)
    return _PLAIN.get(found[1], found[1]) if found else told


def _open(
    source: Source,
    model: str | bytes,
    level: str,
    *,
    save: Path | None = None,
    arena: bool = True,
) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = source.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = arena
    options.log_severity_level = _ERRORS_ONLY
    if isinstance(model, bytes):
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(source.path.parent.resolve()))
    if save is not None:
        options.optimized_model_filepath = str(save)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise BackendError(_refused(source.path, error)) from error


def _refused(path: Path, error: Exception) -> str:
    told = " ".join(str(error).split())
    which = f"ONNX Runtime {runtime_version()}"
    if any(words in told for words in _NO_KERNEL):
        return f"{path}: {which} has no kernel for one of its operators: {told}"
    return f"{path}: {which} cannot open it: {told}"
