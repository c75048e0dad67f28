"""What an ONNX file is made of: its external data, where that may lie, and its content identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gate.models.base import ModelError
from gate.models.hashing import files_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxParts:
    """An ONNX file and the files that hold its large tensors."""

    path: Path
    external: tuple[Path, ...]
    """External data files in name order."""
    sha256: str
    """Over the file and its external data files, in that order."""
    size_bytes: int
    proto: Any
    """The parsed ``ModelProto``, external data not loaded."""


def inspect_onnx(path: Path) -> OnnxParts:
    """Parse an ONNX file and find everything that belongs to it. Nothing is executed.

    Raises:
        ModelError: missing or damaged file, or external data outside the model's folder, behind a
            link, or shared with another file by a hard link.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise ModelError(f"{path}: no such ONNX file")
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: is no ONNX file: {error}") from error
    if not proto.graph.node:
        raise ModelError(f"{path}: is no ONNX model: its graph has no node")
    external = tuple(_external_file(path, location) for location in _locations(proto))
    files = (path, *external)
    return OnnxParts(
        path=path,
        external=external,
        sha256=files_sha256(files),
        size_bytes=sum(file.stat().st_size for file in files),
        proto=proto,
    )


def _locations(proto: Any) -> list[str]:
    """External data locations that any tensor of the model names, sorted."""
    from onnx import TensorProto

    found = set()
    for tensor in _tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            found.add(entries.get("location", ""))
    return sorted(found)


def _tensors(proto: Any) -> Iterator[Any]:
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _external_file(model: Path, location: str) -> Path:
    # A runtime reads whatever the path leads to, so each way out of the folder is closed here.
    relative = PurePosixPath(location)
    if not location or relative.is_absolute() or ".." in relative.parts or "\\" in location:
        raise ModelError(
            f"{model}: external data '{location}' lies outside the model's folder, which is refused"
        )
    folder = model.parent.resolve()
    path = model.parent / relative
    resolved = path.resolve()
    if not resolved.is_relative_to(folder):
        raise ModelError(
            f"{model}: external data '{location}' is a link out of the model's folder, which is refused"
        )
    if not resolved.is_file():
        raise ModelError(f"{model}: external data file '{location}' is missing")
    if resolved.stat().st_nlink > 1:
        raise ModelError(
            f"{model}: external data '{location}' is a hard link to a file that has another name, "
            "which is refused; copy the file"
        )
    return path
