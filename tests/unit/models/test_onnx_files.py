"""ONNX files: external data, identity, and agreement with the declared inputs."""

import os
from pathlib import Path

import numpy as np
import pytest

from gate import plugins
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import ModelError
from gate.models.onnx_files import inspect_onnx

onnx = pytest.importorskip("onnx")


def write(path: Path, *, external: str | None = None) -> Path:
    weight = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])],
        [weight],
    )
    if external is not None:
        tensor = graph.initializer[0]
        content = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=external)
        target = path.parent / external
        if external and ".." not in external and not target.exists() and target.parent.is_dir():
            target.write_bytes(content)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


def test_external_data_belongs_to_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", external="w.bin")
    before = inspect_onnx(path)
    assert before.external == (tmp_path / "w.bin",)
    assert before.size_bytes == path.stat().st_size + 24
    (tmp_path / "w.bin").write_bytes(bytes(24))
    assert inspect_onnx(path).sha256 != before.sha256


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("../w.bin", "outside the model's folder"),
        ("/etc/hostname", "outside the model's folder"),
        ("", "outside the model's folder"),
        ("sub/missing.bin", "is missing"),
        ("leads_out", "link out of the model's folder"),
        ("shared.bin", "hard link"),
    ],
)
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str, said: str) -> None:
    outside, folder = tmp_path / "secret.bin", tmp_path / "model"
    folder.mkdir()
    outside.write_bytes(bytes(24))
    (folder / "leads_out").symlink_to(outside)
    os.link(outside, folder / "shared.bin")
    with pytest.raises(ModelError, match=said):
        inspect_onnx(write(folder / "m.onnx", external=location))


def test_data_of_nested_graphs_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    proto = onnx.load(path)
    inner = onnx.helper.make_tensor("c", onnx.TensorProto.FLOAT, [1], bytes(4), raw=True)
    inner.ClearField("raw_data")
    inner.data_location = onnx.TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="../out.bin")
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["z"], value=inner)], "b", [], []
    )
    proto.graph.node.append(
        onnx.helper.make_node("If", ["k"], ["z"], then_branch=branch, else_branch=branch)
    )
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside"):
        inspect_onnx(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xff not a model"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is no ONNX"):
        inspect_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "said"),
    [
        ("x", ("N", 3), "float32", None),
        ("image", ("N", 3), "float32", "its inputs are x; the spec declares image"),
        ("x", ("N", 4), "float32", r"has shape \['N', 3\], the spec says \['N', 4\]"),
        ("x", ("N", 3, 1), "float32", "has shape"),
        ("x", ("N", 3), "uint8", "is float32, the spec says uint8"),
    ],
)
def test_inputs_are_those_of_the_spec(
    tmp_path: Path, name: str, shape: tuple[int | str, ...], dtype: str, said: str | None
) -> None:
    spec = ModelSpec(
        id="m",
        task="other",
        source="onnx",
        options={"path": str(write(tmp_path / "m.onnx"))},
        inputs={name: InputSpec(shape=shape, dtype=dtype)},
    )
    source = plugins.load("sources", "onnx")
    if said is None:
        assert source.load(spec, seed=0).path == tmp_path / "m.onnx"
        return
    with pytest.raises(ModelError, match=said):
        source.load(spec, seed=0)
