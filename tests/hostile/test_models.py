"""ONNX files that claim more than they have, or take more than anybody should read."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.models import onnx_files
from gate.models.base import ModelError
from gate.models.onnx_files import inspect_onnx

onnx = pytest.importorskip("onnx")
KIB = b"\0" * 1024


def write(
    folder: Path, *, dims: tuple[int, ...] = (16, 16), kind: Any = None, **entries: Any
) -> Path:
    """A model with one tensor in ``w.bin``, described by ``entries``."""
    tensor = onnx.TensorProto(name="w", dims=dims, data_type=kind or onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 16])],
        [tensor],
    )
    path = folder / "m.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": 1},
        {"length": 4096},
        {"length": 16},
        {"offset": 2**60},
        {"offset": -8, "length": 1024},
        {"dims": (2**20, 2**20)},
        {"dims": (2**31, 2**31, 2**31)},
    ],
    ids=str,
)
def test_a_tensor_claims_no_more_than_its_file_has(tmp_path: Path, entries: dict[str, Any]) -> None:
    (tmp_path / "w.bin").write_bytes(KIB)
    with pytest.raises(ModelError, match=r"tensor 'w' takes \d+ bytes .* which has 1024: refused"):
        inspect_onnx(write(tmp_path, **entries))


@pytest.mark.parametrize(
    "entries",
    [
        {"offset": "many"},
        {"length": "0x10"},
        {"dims": (-1, 16)},
        {"kind": 77},
        {"offset": "9" * 5000},
    ],
    ids=lambda entries: next(iter(entries)),
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, entries: dict[str, Any]) -> None:
    (tmp_path / "w.bin").write_bytes(KIB)
    with pytest.raises(ModelError, match="no readable type, offset or length"):
        inspect_onnx(write(tmp_path, **entries))


def test_ordinary_external_data_is_taken(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(KIB * 5)
    for entries in (
        {},
        {"offset": 4096, "length": 1024},
        {"kind": onnx.TensorProto.INT4, "dims": (3,), "length": 2},
        {"kind": onnx.TensorProto.BFLOAT16, "dims": (2560,)},
    ):
        assert inspect_onnx(write(tmp_path, **entries)).external == (tmp_path / "w.bin",)


def test_what_the_library_writes_is_taken(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 64])],
        [weight],
    )
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.helper.make_model(graph), str(path), save_as_external_data=True, location="m.data"
    )
    assert inspect_onnx(path).external == (tmp_path / "m.data",)


def test_a_sparse_file_of_terabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "w.bin").open("wb") as file:
        os.truncate(file.fileno(), 2**42)
    began = time.monotonic()
    with pytest.raises(ModelError, match="takes 4096 GiB, more than the 32 GiB that are read"):
        inspect_onnx(write(tmp_path))
    assert time.monotonic() - began < 5


def test_a_model_file_larger_than_protobuf_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        os.truncate(file.fileno(), onnx_files.MOST_MODEL_BYTES + 1)
    with pytest.raises(ModelError, match="larger than 2 GiB"):
        inspect_onnx(path)


def test_devices_and_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="is missing"):
        inspect_onnx(write(tmp_path))
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", Path("/dev/zero")):
        with pytest.raises(ModelError, match="no such ONNX file"):
            inspect_onnx(path)
