"""An ONNX file on disk: is it one, which external data belong to it, what is its digest.

ONNX Runtime reads external data through hard links and wherever the path leads; here a path must
stay beside the model, and a file that has a second name elsewhere is refused.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gate.models.base import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A checked ONNX file."""

    path: Path
    external: tuple[Path, ...]
    """External data files, in name order."""
    sha256: str
    """Over the file, then over its external data files in name order."""
    size_bytes: int
    """External data included."""


def inspect_onnx(path: Path) -> OnnxFile:
    """Check an ONNX file and the external data it names, and digest both.

    Raises:
        ModelError: missing, not an ONNX model, or external data that is missing, outside the
            model's folder, a link, or hard-linked.
    """
    files = (path, *external_data(read_proto(path), path))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    return OnnxFile(
        path=path,
        external=files[1:],
        sha256=digest.hexdigest(),
        size_bytes=sum(file.stat().st_size for file in files),
    )


def read_proto(path: Path) -> Any:
    """Parse an ONNX file without its external data.

    Raises:
        ModelError: missing, unreadable, or not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs

    if not path.is_file():
        raise ModelError(f"{path}: no such ONNX file")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX model: {error}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{path}: not an ONNX model: no graph with nodes in it")
    return model


def external_data(model: Any, path: Path) -> tuple[Path, ...]:
    """External data files that the tensors of ``model`` name, checked, in name order.

    Raises:
        ModelError: see :func:`inspect_onnx`.
    """
    folder = path.parent.resolve()
    return tuple(_checked(path, folder, location) for location in sorted(_locations(model)))


def _locations(model: Any) -> set[str]:
    import onnx

    return {
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }


def _checked(path: Path, folder: Path, location: str) -> Path:
    """The file that ``location`` names, if it lies in ``folder`` and nowhere else."""
    told = f"{path}: external data {location!r}"
    parts = PurePosixPath(location.replace("\\", "/"))
    if not location or parts.is_absolute() or ".." in parts.parts or Path(location).is_absolute():
        raise ModelError(f"{told}: must be a path relative to the model, without '..'")
    file = folder.joinpath(*parts.parts)
    if not file.resolve().is_relative_to(folder):
        raise ModelError(f"{told}: leads out of the model's folder")
    if not file.exists():
        raise ModelError(f"{told}: missing; it must lie beside the model")
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{told}: must be a regular file, not a link or a device")
    if status.st_nlink > 1:
        raise ModelError(
            f"{told}: has {status.st_nlink} hard links, so that it can change under another name;"
            " copy the file"
        )
    return file


def _tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graph_tensors(graph)
