"""LiteRT sessions: batches, stored integers, layers, capture; against the arithmetic done by hand."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from gate.backends._litert_session import KERNELS, Model, Source
from gate.backends.base import BackendError
from gate.backends.litert import LiteRtBackend, LiteRtSession
from gate.core.artifact import Artifact, Format
from gate.core.spec import InputSpec, ModelSpec, TargetSpec
from gate.models.base import LoadedModel
from tests.unit import tflite_models as files

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def source(path, kernels="xnnpack"):
    return Source(path=path, threads=1, kernels=kernels)


def opened(path, reference=None, **options):
    """The backend's own way, with options of a given candidate."""
    spec = ModelSpec(
        id="m", task="other", source="tflite", options={},
        inputs={"x": InputSpec(shape=("N", 4), dtype="float32")},
    )  # fmt: skip
    model = LoadedModel(
        format=Format.TFLITE, sha256="0", size_bytes=1, spec=spec, path=reference or path
    )
    artifact = Artifact(
        format=Format.TFLITE, path=path, sha256="0", size_bytes=1, producer="candidate",
        options=options,
    )  # fmt: skip
    target = TargetSpec(name="t", backend="litert", threads=1, dedicated=False, options={})
    return LiteRtBackend().open_candidate(artifact, model=model, target=target)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("batch", [-1, 1, 3])
def test_any_kernels_and_a_fixed_batch_give_the_same_answers(tmp_path, kernels, batch):
    session = LiteRtSession(source(files.float_linear(tmp_path / "m.tflite", batch=batch), kernels))
    outputs = session.run({"x": X})
    assert list(outputs) == ["output"]
    np.testing.assert_allclose(outputs["output"], files.expected(X), atol=1e-6)
    rows = session.layers({"x": X})
    assert all(row.outputs[0].shape == (6, 3) for row in rows)
    captured = dict(session.capture({"x": X}, [row.capture for row in rows]))
    np.testing.assert_array_equal(captured["soft"], outputs["output"])
    np.testing.assert_allclose(captured["dense/MatMul"], X @ files.WEIGHT.T + files.BIAS, atol=1e-5)


def test_a_batch_that_is_no_multiple_of_the_file_s_is_refused(tmp_path):
    session = LiteRtSession(source(files.float_linear(tmp_path / "m.tflite", batch=4)))
    with pytest.raises(BackendError, match="takes batches of 4 only, and 6 is no multiple"):
        session.run({"x": X})


def test_real_inputs_are_stored_with_the_file_s_own_scale(tmp_path):
    path = files.int8_linear(tmp_path / "m.tflite")
    stored = np.clip(np.rint(X / np.float32(files.IN_SCALE)) + files.IN_ZERO, -128, 127)
    session = LiteRtSession(source(path))
    real = session.run({"x": X})["output"]
    np.testing.assert_array_equal(real, session.run({"x": stored.astype(np.int8)})["output"])
    assert real.dtype == np.float32
    assert np.abs(real - files.expected(X)).max() < 0.03
    with pytest.raises(BackendError, match="input 'x' is int8, given float64"):
        session.run({"x": X.astype(np.float64)})


def test_a_declared_transform_does_what_the_file_s_parameters_say(tmp_path):
    path = files.int8_linear(tmp_path / "m.tflite")
    declared = {
        "inputs": {"x": {"dtype": "int8", "scale": files.IN_SCALE, "zero_point": files.IN_ZERO}},
        "outputs": {"output": {"scale": 1 / 256, "zero_point": -128}},
    }
    with opened(path) as own, opened(path, **declared) as other:
        np.testing.assert_array_equal(own.run({"x": X})["output"], other.run({"x": X})["output"])
    wrong = {"inputs": {"x": {"dtype": "int8", "scale": files.IN_SCALE, "zero_point": 40}}}
    with opened(path) as own, opened(path, **wrong) as other:
        assert np.abs(own.run({"x": X})["output"] - other.run({"x": X})["output"]).max() > 0.1


def test_layers_of_a_candidate_bear_the_names_of_the_float_file(tmp_path):
    reference = files.float_linear(tmp_path / "float.tflite", name="model/fc")
    with opened(files.int8_linear(tmp_path / "int8.tflite", real_io=True), reference) as session:
        rows = session.layers({"x": X})
        assert [(row.name, row.op) for row in rows] == [
            ("xq", "QUANTIZE"),
            ("model/fc/MatMul", "FULLY_CONNECTED"),
            ("soft", "SOFTMAX"),
            ("real", "DEQUANTIZE"),
        ]
        dense = rows[1]
        assert dense.computes
        assert dense.quantized
        assert (dense.params, dense.params_quantized, dense.macs) == (12, 12, 12)
        assert (dense.weight.scheme, dense.weight.axis) == ("per-channel-symmetric", 0)
        assert dense.weight.output_axis == 0
        assert dense.output.zero_points == (files.OUT_ZERO,)
        assert session.packed_bytes() == 12 + 12


def test_a_layer_alone_begins_where_its_operand_becomes_integers(tmp_path):
    with opened(files.int8_linear(tmp_path / "int8.tflite", real_io=True)) as session:
        rows = {row.name: row for row in session.layers({"x": X})}
        captured = dict(session.capture({"x": X}, [row.capture for row in rows.values()]))
        pieces = session.isolate({"x": X}).pieces
        assert pieces["dense"].operands[0].input == "x"
        np.testing.assert_array_equal(pieces["dense"].run([X]), captured["dense"])
        assert pieces["soft"].operands[0].layer == "dense"
        np.testing.assert_array_equal(pieces["soft"].run([captured["dense"]]), captured["soft"])


def test_a_saved_layer_runs_without_the_gate(tmp_path):
    with opened(files.int8_linear(tmp_path / "int8.tflite")) as session:
        list(session.layers({"x": X}))
        piece = session.isolate({"x": X}).pieces["dense"]
        saved = piece.save(tmp_path, [X])
        names = {"inputs": [X], "here": tmp_path, "np": np}
        exec(saved.runs, names)  # noqa: S102 - what a reproduction does
        np.testing.assert_array_equal(names["got"], piece.run([X]))


def test_weights_in_half_precision_count_as_such(tmp_path):
    session = LiteRtSession(source(files.float_linear(tmp_path / "m.tflite", half=True)))
    rows = session.layers({"x": X})
    assert [row.op for row in rows] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert (rows[0].params, rows[0].params_half, rows[0].quantized) == (12, 12, False)
    piece = session.isolate({"x": X}).pieces[rows[0].name]
    captured = dict(session.capture({"x": X}, [rows[0].capture]))
    np.testing.assert_array_equal(piece.run([X]), captured[rows[0].name])


def test_activations_alive_at_one_layer(tmp_path):
    # Float: x (4) and y (3), then y and soft (3): at most 7 elements of four bytes.
    floats = LiteRtSession(source(files.float_linear(tmp_path / "f.tflite")))
    assert floats.activation_bytes() == 28
    # Int8 behind a QUANTIZE: x (4 * 4) and its copy (4).
    assert (
        LiteRtSession(
            source(files.int8_linear(tmp_path / "q.tflite", real_io=True))
        ).activation_bytes()
        == 20
    )


def test_an_operator_without_a_kernel_is_refused_in_words(tmp_path):
    file = files.File()
    x, y = file.tensor("x", (1, 4)), file.tensor("y", (1, 4))
    file.operator(files.B.CUSTOM, [x], [y], custom="Secret")
    path = file.write(tmp_path / "m.tflite", [x], [y])
    with pytest.raises(BackendError, match="Secret"):
        Model(source(path))


def test_capture_in_groups_gives_what_one_run_gives(tmp_path):
    from gate.backends._litert_capture import Capture
    from gate.models.tflite_graph import read_tflite

    path = files.int8_linear(tmp_path / "m.tflite")
    graph = read_tflite(path)
    wanted = [op.outputs[0] for op in graph.operators]
    names = {graph.inputs[0]: "x"}
    whole = dict(Capture(source(path), graph, names).stored({"x": X}, wanted))
    parts = dict(Capture(source(path), graph, names, budget=1).stored({"x": X}, wanted))
    for tensor in wanted:
        np.testing.assert_array_equal(whole[tensor], parts[tensor])


def test_opens_no_other_format(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")
    spec = ModelSpec(id="m", task="other", source="onnx", options={}, inputs={})
    model = LoadedModel(format=Format.ONNX, sha256="0", size_bytes=1, spec=spec, path=path)
    target = TargetSpec(name="t", backend="litert", threads=1, dedicated=False, options={})
    with (
        pytest.raises(BackendError, match=r"opens \.tflite files, not onnx"),
        LiteRtBackend().open_reference(model, target=target),
    ):
        pass
