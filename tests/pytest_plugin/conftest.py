"""A project with one tiny real spec: two matrix products, quantized and run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

# pytester forgets modules that a session in this process imports; what is imported here before stays
# one and the same for all of them.
import gate.baseline.store
import gate.report.junit
import gate.report.table
import gate.report.verdicts
import gate.run.shared
import gate.spec.load
import gate.spec.matrix  # noqa: F401

SPEC = """\
version: 1
model:
  id: tiny
  task: image-classification
  reference: {source: onnx, path: ../tiny.onnx}
  inputs: {x: {shape: [N, 8], dtype: float32}}
data:
  calibration: {source: npz, path: ../tiny.npz, inputs: x, samples: 16}
  evaluation: {source: npz, path: ../tiny.npz, inputs: x, labels: y, skip: 16}
quantizations:
  good: {method: onnxruntime-static}
  strict: {method: onnxruntime-static}
targets:
  ort-cpu: {backend: onnxruntime, threads: 1}
run: {timing: {warmup: 1, rounds: 3}}
baseline: ignore
tolerances:
  numerical: {sqnr: ">= 10 dB"}
  layers: {shapes: equal}
  device: {top1_drop: "< 50 pp"}
  overrides:
    - when: {quantization: strict}
      tolerances: {layers: {sqnr: ">= 150 dB"}}
      because: "no 8-bit layer is that close"
"""


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``tiny.onnx`` and ``tiny.npz``, and the cache that all tests share."""
    np = pytest.importorskip("numpy")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    folder = tmp_path_factory.mktemp("tiny")
    draw = np.random.default_rng(0)
    first = draw.normal(size=(8, 16)).astype("float32")
    second = draw.normal(size=(16, 4)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"], name="fc1"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("MatMul", ["r", "w2"], ["output"], name="fc2"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["N", 4])],
        [tensor(first, "w1"), tensor(second, "w2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "tiny.onnx")
    x = draw.normal(size=(64, 8)).astype("float32")
    labels = (np.maximum(x @ first, 0) @ second).argmax(1)
    np.savez(folder / "tiny.npz", x=x, y=labels.astype("int64"))
    return folder


@pytest.fixture
def project(
    pytester: pytest.Pytester, tiny_files: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project in its own folder with ``specs/tiny.yaml``, cases ``good`` (passes) and ``strict``
    (fails in the layers tier)."""
    for name in ("tiny.onnx", "tiny.npz"):
        (pytester.path / name).symlink_to(tiny_files / name)
    (pytester.path / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    (pytester.path / "specs").mkdir()
    (pytester.path / "specs" / "tiny.yaml").write_text(SPEC)
    monkeypatch.setenv("GATE_CACHE", str(tiny_files / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    # Its summary hook imports and rewrites all of hypothesis in every inner session.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    return pytester


def edit(project: pytest.Pytester, *replacements: tuple[str, str], name: str = "tiny.yaml") -> None:
    """Write ``specs/<name>``: the spec with replacements, each of which must do something."""
    text = SPEC
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (project.path / "specs" / name).write_text(text)
