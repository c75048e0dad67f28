import os

import numpy as np
import onnx
import pytest
from onnx import helper

from gate import plugins
from gate.backends import _onnx_capture
from gate.backends._onnx_session import Source, open_with_outputs
from gate.backends.base import BackendError
from gate.core.artifact import Artifact, Format
from gate.metrics.elementwise import sqnr_db
from gate.tiers.layers import observe_layers
from tests.unit.onnx_models import Builder, cnn_model, images, loaded, quantize, target

WAYS = {
    "qdq": ("onnxruntime-static", {}),
    "qoperator": ("onnxruntime-static", {"format": "QOperator"}),
    "s8s8": ("onnxruntime-static", {"activations": "int8"}),
    "mixed": ("onnxruntime-static", {"keep_float": ["conv2"]}),
    "dynamic": ("onnxruntime-dynamic", {}),
}


@pytest.fixture(scope="module")
def backend():
    return plugins.load("backends", "onnxruntime")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return cnn_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=list(WAYS))
def artifact(request, model, tmp_path_factory):
    method, options = WAYS[request.param]
    return quantize(method, model, tmp_path_factory.mktemp("candidate"), **options)


def test_observing_changes_nothing(backend, model, artifact):
    """The session with every layer as an extra output gives the same result, bit for bit."""
    inputs = images(4)
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = session.layers(inputs)
        expected = session.run(inputs)["output"]
    observed = open_with_outputs(Source.of(artifact.path, target()), [r.capture for r in rows])
    np.testing.assert_array_equal(observed.run(["output"], inputs)[0], expected)


def test_captured_layers_are_what_the_runtime_dequantizes(backend, model, artifact):
    """Against the runtime's own DequantizeLinear, each layer asked for by itself."""
    inputs = images(3)
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.capture: row for row in session.layers(inputs)}
        captured = dict(session.capture(inputs, list(rows)))
    assert set(captured) == set(rows)
    proto = onnx.load(str(artifact.path))
    after = {
        node.input[0]: node.output[0]
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear"
    }
    checked = 0
    for name, array in captured.items():
        assert array.dtype == np.float32
        assert array.shape == rows[name].outputs[0].shape
        if rows[name].output is not None and name in after:
            told = open_with_outputs(Source.of(artifact.path, target()), [after[name]])
            expected = told.run([after[name]], inputs)[0]
            np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7)
            checked += 1
    if artifact.options.get("format") == "QDQ":
        assert checked >= 7


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_tensor_stored_in_the_range_of_its_clamp_is_not_compared_alone(
    backend, model, tmp_path, form
):
    """With symmetric activations the clamps stay, and what is stored before them is cut off."""
    candidate = quantize(
        "onnxruntime-static", model, tmp_path, format=form, symmetric_activations=True
    )
    nodes = onnx.load(str(candidate.path)).graph.node
    assert {"Relu", "Clip"} <= {node.op_type for node in nodes}
    inputs = images(4)
    with (
        backend.open_reference(model, target=target()) as reference,
        backend.open_candidate(candidate, model=model, target=target()) as session,
    ):
        seen = observe_layers(
            reference, session, sample=inputs, batches=lambda _: [inputs], tick=lambda _: None
        ).layers
    covered = {match.candidate: match.reference[-1] for match in seen.matches}
    assert covered["conv1"] == "relu1"
    assert covered["depthwise"] == "relu6"
    assert covered["conv2"] == "relu3"
    assert not seen.unmatched_reference
    assert min(sqnr_db(match.errors) for match in seen.matches) > 20


def test_a_small_budget_gives_the_same_tensors_in_the_same_order(
    backend, model, artifact, monkeypatch
):
    inputs = images(4)

    def stream():
        with backend.open_candidate(artifact, model=model, target=target()) as session:
            names = [row.capture for row in session.layers(inputs)]
            return list(session.capture(inputs, names)), session

    whole, _ = stream()
    monkeypatch.setattr(_onnx_capture.Capture.__init__, "__kwdefaults__", {"budget": 20_000})
    parts, session = stream()
    groups = session._observer(inputs).groups([name for name, _ in whole], 4)
    assert len(groups) > 1
    sizes = session._observer(inputs)._sample_bytes
    assert all(len(g) == 1 or sum(4 * sizes[n] for n in g) <= 20_000 for g in groups)
    assert [name for name, _ in parts] == [name for name, _ in whole]
    for (_, one), (_, other) in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("kept_bytes", "kept"), [(0, False), (2**30, True)])
def test_sessions_are_kept_as_far_as_memory_is_meant_for_them(  # noqa: PLR0917 - fixtures
    backend, model, artifact, monkeypatch, kept_bytes, kept
):
    """Each holds the weights of the whole model: a large one would fill the machine."""
    monkeypatch.setattr(_onnx_capture, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(_onnx_capture.Capture.__init__, "__kwdefaults__", {"budget": 20_000})
    inputs = images(4)
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        names = [row.capture for row in session.layers(inputs)]
        first, again = (list(session.capture(inputs, names)) for _ in range(2))
        observer = session._observer(inputs)
    assert bool(observer._sessions) is kept
    assert [name for name, _ in first] == [name for name, _ in again]
    for (_, one), (_, other) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_capture_takes_any_batch_after_the_table_was_made(backend, model, artifact):
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = session.layers(images(2))
        for name, array in session.capture(images(5), [row.capture for row in rows]):
            assert array.shape[0] == 5, name


def test_below_the_level_that_fuses_nothing_counts_as_quantized(backend, model, tmp_path):
    artifact = quantize("onnxruntime-static", model, tmp_path)
    for level, integer in (("disabled", 0), ("basic", 0), ("extended", 5), ("all", 5)):
        options = target(graph_optimization=level)
        with backend.open_candidate(artifact, model=model, target=options) as session:
            rows = session.layers(images(2))
        assert sum(row.quantized for row in rows if row.computes) == integer, level


def test_a_group_without_an_integer_kernel_is_not_called_quantized(backend, tmp_path):
    b = Builder()
    weight = b.weight("w", 3, 4, 2, 2)
    b.add("ConvTranspose", "up", ["image", weight], "u", strides=[2, 2])
    b.add("Conv", "conv", ["u", b.weight("w2", 4, 4, 3, 3)], "output")
    model = loaded(b.save(tmp_path / "up.onnx", ["N", 3, 16, 16]))
    artifact = quantize("onnxruntime-static", model, tmp_path / "out")
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.name: row for row in session.layers(images(2))}
    assert rows["conv"].quantized
    assert not rows["up"].quantized
    assert rows["up"].params_quantized == rows["up"].params == 48
    assert rows["up"].macs == 16 * 16 * 3 * 4 * 4


def test_arithmetic_inside_a_branch_counts_as_float(backend, tmp_path):
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["flat", "w"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", 1, None)],
    )
    b = Builder()
    b.weight("w", 768, 4)
    b.add("Flatten", "flatten", ["image"], "flat")
    condition = b.constant("yes", np.bool_(True))
    b.add("If", "branch", [condition], "output", then_branch=inner, else_branch=inner)
    model = loaded(b.save(tmp_path / "if.onnx", ["N", 3, 16, 16]))
    with backend.open_reference(model, target=target()) as session:
        rows = {row.name: row for row in session.layers(images(2))}
    assert rows["branch"].computes
    assert not rows["branch"].quantized
    assert rows["branch"].outputs[0].shape == (2, 4)


def test_nodes_without_names_match_on_both_sides(backend, model, tmp_path):
    proto = onnx.load(str(model.path))
    for node in proto.graph.node:
        node.name = ""
    onnx.save(proto, str(tmp_path / "bare.onnx"))
    bare = loaded(tmp_path / "bare.onnx")
    artifact = quantize("onnxruntime-static", bare, tmp_path / "out", keep_float=["Conv:c4"])
    with backend.open_reference(bare, target=target()) as session:
        names = {row.name for row in session.layers(images(2))}
    with backend.open_candidate(artifact, model=bare, target=target()) as session:
        rows = {row.name: row for row in session.layers(images(2))}
    assert rows["Conv:c1"].covers == ("Conv:c1", "BatchNormalization:b1", "Relu:r1")
    assert {name for row in rows.values() for name in row.covers or (row.name,)} <= names
    assert not rows["Conv:c4"].quantized


def test_a_renamed_graph_is_not_guessed_at(backend, model, tmp_path):
    """Other tensor and node names throughout: no layer claims to stand for another."""
    artifact = quantize("onnxruntime-static", model, tmp_path)
    proto = onnx.load(str(artifact.path))
    for node in proto.graph.node:
        node.name = f"x_{node.name}"
        node.input[:] = [i if i == "image" or not i else f"x_{i}" for i in node.input]
        node.output[:] = [o if o == "output" else f"x_{o}" for o in node.output]
    for tensor in proto.graph.initializer:
        tensor.name = f"x_{tensor.name}"
    del proto.graph.value_info[:]
    onnx.save(proto, str(artifact.path))
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = session.layers(images(2))
    assert all(row.name.startswith("x_") and row.covers == () for row in rows)


def external_model(folder):
    b = Builder()
    b.add("Flatten", "flatten", ["image"], "flat")
    b.add("MatMul", "fc", ["flat", b.weight("w", 768, 10)], "output")
    path = b.save(folder / "m.onnx", ["N", 3, 16, 16])
    onnx.save_model(onnx.load(str(path)), str(path), save_as_external_data=True, location="m.data")
    return loaded(path), folder / "m.data"


def test_external_data_beside_the_model_is_read_everywhere(backend, tmp_path, monkeypatch):
    model, _ = external_model(tmp_path)
    monkeypatch.chdir(os.sep)
    inputs = images(4)
    with backend.open_reference(model, target=target()) as session:
        expected = session.run(inputs)["output"]
        rows = session.layers(inputs)
        captured = dict(session.capture(inputs, [row.capture for row in rows]))
        assert session.packed_bytes() >= 4 * 7680
    np.testing.assert_array_equal(captured["output"], expected)
    assert rows[-1].params == 7680
    artifact = quantize("onnxruntime-dynamic", model, tmp_path / "out")
    assert artifact.size_bytes < 4 * 7680


@pytest.mark.parametrize("fault", ["missing", "outside", "hard-linked", "linked out"])
def test_external_data_elsewhere_is_refused(backend, tmp_path, fault):
    folder = tmp_path / "model"
    folder.mkdir()
    model, data = external_model(folder)
    other = tmp_path / "other.data"
    if fault == "hard-linked":
        other.hardlink_to(data)
    else:
        data.rename(other)
    if fault == "linked out":
        data.symlink_to(other)
    if fault == "outside":
        proto = onnx.load(str(model.path), load_external_data=False)
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "../other.data"
        model.path.write_bytes(proto.SerializeToString())
    words = {"missing": "missing", "outside": "outside", "linked out": "link"}
    with (
        pytest.raises(BackendError, match=words.get(fault, "hard link")),
        backend.open_reference(model, target=target()),
    ):
        pass


def test_an_operator_without_a_kernel_is_said(backend, tmp_path):
    b = Builder()
    b.add("Bogus", "bogus", ["image"], "output")
    model = loaded(b.save(tmp_path / "bogus.onnx", ["N", 3, 16, 16]))
    with (
        pytest.raises(BackendError, match=r"ONNX Runtime .* has no kernel .*Bogus"),
        backend.open_reference(model, target=target()),
    ):
        pass


def test_other_formats_are_refused(backend, model, tmp_path):
    artifact = Artifact(
        format=Format.TORCH_QUANTIZED,
        path=tmp_path / "x",
        sha256="0",
        size_bytes=0,
        producer="torch-dynamic",
    )
    with (
        pytest.raises(BackendError, match="opens ONNX files, not torch-quantized"),
        backend.open_candidate(artifact, model=model, target=target()),
    ):
        pass
