"""TensorFlow's converter, asked from outside: what it makes, what it is refused, and how it is found."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")

from gate.core.artifact import Format
from gate.core.spec import InputSpec, ModelSpec
from gate.models import tensorflow
from gate.models.base import LoadedModel, ModelError
from gate.models.conversions import convert
from gate.models.keras import KerasModel
from gate.models.tflite_graph import TfliteGraph, read_tflite
from gate.plugins import load
from gate.quantize.base import QuantizeError
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model

# An optional package that has no build for every machine; it is there wherever it installs.
if reason := tensorflow.missing():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_model(Format.KERAS, tmp_path_factory.mktemp("keras"))


def quantized(model: LoadedModel, folder: Path, **options: object) -> TfliteGraph:
    batches = tiny_batches(1, 8)
    artifact = load("quantizers", "tflite").quantize(
        model,
        lambda: iter(batches),
        options=options,
        target=target_for("litert"),
        seed=0,
        out_dir=folder,
    )
    return read_tflite(artifact.path)


def spec(**options: object) -> ModelSpec:
    return ModelSpec(
        id="k", task="other", source="keras", options=options,
        inputs={"x": InputSpec(shape=("N", 3), dtype="float32")},
    )  # fmt: skip


def test_another_process_answers_after_one_was_killed(tmp_path: Path) -> None:
    def pid() -> int:
        with pytest.raises(ModelError, match="no such Keras file"):
            tensorflow.ask("describe", {"path": str(tmp_path / "absent.keras")})
        return tensorflow._running[0]._process.pid

    tensorflow.close()
    first = pid()
    assert pid() == first
    os.kill(first, signal.SIGKILL)
    assert pid() != first


def test_inputs_and_outputs_bear_the_gate_s_names(model: LoadedModel, tmp_path: Path) -> None:
    graph = read_tflite(convert(model, Format.TFLITE, out_dir=tmp_path).path)
    (x,), (y,) = graph.inputs, graph.outputs
    assert (graph.name_of(x), graph.name_of(y)) == (INPUT, "output")
    assert graph.tensors[x].dynamic == (True, False, False, False)
    assert {t.dtype for t in graph.tensors if t.constant} <= {"float32", "int32"}


@pytest.mark.parametrize(
    ("mode", "io", "inside"),
    [("int8", "float32", "float32"), ("int8", "uint8", "uint8"), ("float16", None, "float32")],
)
def test_modes_store_what_they_say(
    model: LoadedModel, tmp_path: Path, mode: str, io: str | None, inside: str
) -> None:
    graph = quantized(model, tmp_path, mode=mode, **({"io": io} if io else {}))
    assert graph.tensors[graph.inputs[0]].dtype == inside
    weights = {t.dtype for t in graph.tensors if t.constant and len(t.shape) in (2, 4)}
    assert ("float16" if mode == "float16" else "int8") in weights
    assert "float32" not in weights


def test_scales_a_channel_or_one_for_all(model: LoadedModel, tmp_path: Path) -> None:
    def convolution(**options: object) -> int:
        folder = tmp_path / str(len(options))
        folder.mkdir()
        graph = quantized(model, folder, mode="int8", **options)
        op = next(op for op in graph.operators if op.op == "CONV_2D")
        return len(graph.tensors[op.inputs[1]].scales)

    assert convolution() == 16
    assert convolution(per_channel=False) == 1


def test_what_quantizes_nothing_is_refused(tmp_path: Path) -> None:
    """The converter leaves small weights in floating point, and says nothing."""
    recipe = {
        "entry": "tests.unit.quantize.keras_models:small",
        "root": str(Path(__file__).parents[3]),
        "trusted": ["tests"],
    }
    small = LoadedModel(format=Format.KERAS, sha256="0", size_bytes=1, spec=spec(), module=recipe)
    with pytest.raises(QuantizeError, match="mode dynamic quantized nothing"):
        quantized(small, tmp_path)
    with pytest.raises(QuantizeError, match="io: int8 needs mode int8"):
        quantized(small, tmp_path, io="int8")


def test_a_damaged_file_and_other_inputs_are_refused(model: LoadedModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.keras"
    bad.write_bytes(model.path.read_bytes()[:500])
    loaded = KerasModel().load(spec(path=str(bad)), seed=0)
    with pytest.raises(ModelError, match="cannot open it"):
        convert(loaded, Format.TFLITE, out_dir=tmp_path)
    other = LoadedModel(format=Format.KERAS, sha256="0", size_bytes=1, spec=spec(), path=model.path)
    with pytest.raises(ModelError, match=r"shape \[None, 3, 12, 12\] in Keras, the spec says"):
        convert(other, Format.TFLITE, out_dir=tmp_path)


def test_code_is_run_from_trusted_modules_only() -> None:
    with pytest.raises(ModelError, match="is not trusted"):
        KerasModel().load(spec(entry="os.path:join"), seed=0)
    with pytest.raises(ModelError, match="has no model 'Nothing'"):
        KerasModel().load(spec(application="Nothing"), seed=0)


def test_a_keras_file_is_needed_where_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"x")
    for path in (tmp_path / "m.h5", tmp_path / "absent.keras"):
        with pytest.raises(ModelError, match=r"expected one that ends in \.keras"):
            KerasModel().load(spec(path=str(path)), seed=0)


def test_an_interpreter_without_tensorflow_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tensorflow.INTERPRETER, str(tmp_path / "python"))
    assert "which is no interpreter" in tensorflow.missing()
    (tmp_path / "python").symlink_to("/bin/true")
    assert "which has no TensorFlow" in tensorflow.missing()
    with pytest.raises(ModelError, match="has no TensorFlow"):
        tensorflow.ask("describe", {"application": "ResNet50"})


@pytest.mark.parametrize(
    ("keras", "said"),
    [("3.11.3", "Keras 3.11.3 is too old"), ("3.9.0", "Keras 3.9.0 is too old"), ("3.12.0", None)],
)
def test_a_keras_whose_files_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras: str, said: str | None
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho \'{{"tensorflow": "2.20.0", "keras": "{keras}"}}\'\n')
    python.chmod(0o755)
    monkeypatch.setenv(tensorflow.INTERPRETER, str(python))
    reason = tensorflow.missing()
    if said is None:
        assert reason is None
        return
    assert reason is not None
    assert said in reason
    assert "keras>=3.12" in reason
    assert str(python) in reason
    with pytest.raises(ModelError, match="is too old"):
        tensorflow.ask("describe", {"application": "ResNet50"})


def test_keras_and_its_conversion_agree(model: LoadedModel, tmp_path: Path) -> None:
    x = tiny_batches(1, 4, seed=9)[0]
    target = target_for("keras")
    with load("backends", "keras").open_reference(model, target=target) as session:
        before = session.run(x)["output"]
    converted = convert(model, Format.TFLITE, out_dir=tmp_path)
    with load("backends", "litert").open_reference(
        converted, target=target_for("litert")
    ) as session:
        np.testing.assert_allclose(session.run(x)["output"], before, atol=1e-4)
