"""What an ONNX file is made of: its external data, where that may lie, and its content identity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gate.models.base import ModelError
from gate.models.hashing import files_sha256

MOST_MODEL_BYTES = 2**31 - 1
"""What protobuf can hold in one message."""
MOST_EXTERNAL_BYTES = 32 * 2**30
"""All of it is hashed, so that a sparse file of a few kilobytes could keep a worker busy for hours."""
_FOUR_BITS = frozenset({"INT4", "UINT4", "FLOAT4E2M1"})


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
        ModelError: missing, damaged or oversized file, or external data outside the model's folder,
            behind a link, shared with another file by a hard link, oversized, or shorter than what
            its tensors claim.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise ModelError(f"{path}: no such ONNX file")
    if path.stat().st_size > MOST_MODEL_BYTES:
        raise ModelError(
            f"{path}: is larger than 2 GiB, which no ONNX file can be; save it with external data"
        )
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: is no ONNX file: {error}") from error
    if not proto.graph.node:
        raise ModelError(f"{path}: is no ONNX model: its graph has no node")
    external = _external_files(path, proto)
    files = (path, *external)
    return OnnxParts(
        path=path,
        external=external,
        sha256=files_sha256(files),
        size_bytes=sum(file.stat().st_size for file in files),
        proto=proto,
    )


def _external_files(path: Path, proto: Any) -> tuple[Path, ...]:
    """Files that hold tensors of the model, in name order, each large enough for what it holds."""
    from onnx import TensorProto

    found: dict[str, Path] = {}
    total = 0
    for tensor in _tensors(proto):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if location not in found:
            found[location] = _external_file(path, location)
            total += found[location].stat().st_size
        _check_extent(path, tensor, location, entries, found[location].stat().st_size)
    if total > MOST_EXTERNAL_BYTES:
        raise ModelError(
            f"{path}: its external data takes {total / 2**30:.0f} GiB, more than the "
            f"{MOST_EXTERNAL_BYTES // 2**30} GiB that are read"
        )
    return tuple(found[location] for location in sorted(found))


def _check_extent(
    path: Path, tensor: Any, location: str, entries: Mapping[str, str], size: int
) -> None:
    """Refuse a tensor that claims other bytes than its file has for it; nothing is read for that."""
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or _bytes_of(tensor))
        needed = _bytes_of(tensor)
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"{path}: external data of tensor '{tensor.name}' has no readable type, offset or length"
        ) from None
    if offset < 0 or length < needed or offset + max(length, needed) > size:
        raise ModelError(
            f"{path}: tensor '{tensor.name}' takes {needed} bytes and names {length} from byte "
            f"{offset} of '{location}', which has {size}: refused"
        )


def _bytes_of(tensor: Any) -> int:
    from onnx import TensorProto, helper

    if any(size < 0 for size in tensor.dims):
        raise ValueError("negative size")
    bits = 8 * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    if TensorProto.DataType.Name(tensor.data_type) in _FOUR_BITS:
        bits = 4
    return (math.prod(map(int, tensor.dims)) * bits + 7) // 8


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
