import jsonschema
import numpy as np
import pytest
from onnx import TensorProto

from gate import plugins
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import ModelError
from gate.models.onnx_files import inspect_onnx
from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import (
    Builder,
    cnn,
    cnn_model,
    images,
    loaded,
    quantize,
    target,
)


def test_the_file_is_taken_as_it_is(tmp_path):
    model = cnn_model(tmp_path)
    made = quantize("onnxruntime-static", model, tmp_path / "made")
    artifact = quantize(
        "candidate", model, tmp_path / "out", path=str(made.path), sha256=made.sha256
    )
    assert (artifact.path, artifact.sha256) == (made.path, made.sha256)
    assert artifact.size_bytes == made.size_bytes
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("fault", ["missing", "digest", "text"])
def test_faults_are_said(tmp_path, fault):
    model = cnn_model(tmp_path)
    path = tmp_path / "given.onnx"
    if fault == "text":
        path.write_text("this is no model")
    elif fault == "digest":
        path.write_bytes(model.path.read_bytes())
    words = {"missing": "no such ONNX file", "digest": "SHA-256 is", "text": "no ONNX"}[fault]
    with pytest.raises(QuantizeError, match=words):
        quantize("candidate", model, tmp_path / "out", path=str(path), sha256="0" * 64)


def test_each_side_has_its_own_transform(tmp_path):
    """A file that takes uint8 images in NHWC under another name and has a background class."""
    model = cnn_model(tmp_path)
    b = Builder()
    scale, zero_point = b.constant("s", np.float32(0.05)), b.constant("z", np.uint8(128))
    b.add("DequantizeLinear", "dq", ["pixels", scale, zero_point], "real")
    b.add("Transpose", "to_nchw", ["real"], "image", perm=[0, 3, 1, 2])
    b.random = np.random.default_rng(0)
    cnn(b)
    b.nodes[-1].output[0] = "logits"
    b.add("Pad", "background", ["logits", b.constant("pad", np.array([0, 1, 0, 0]))], "output")
    path = b.save(tmp_path / "given.onnx", ["N", 16, 16, 3], name="pixels", dtype=TensorProto.UINT8)
    options = {
        "path": str(path),
        "inputs": {
            "image": {"rename": "pixels", "scale": 0.05, "zero_point": 128, "layout": "nhwc"}
        },
        "outputs": {"output": {"rename": "scores", "drop_columns": [0]}},
    }
    artifact = quantize("candidate", model, tmp_path / "out", **options)
    backend = plugins.load("backends", "onnxruntime")
    inputs = images(4)
    with backend.open_reference(model, target=target()) as session:
        x = session.run(inputs)["output"]
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        y = session.run(inputs)
        rows = session.layers(inputs)
        captured = dict(session.capture(inputs, [rows[-2].capture]))
    assert list(y) == ["scores"]
    assert y["scores"].shape == (4, 10)
    # The input is rounded to steps of 0.05 and nothing else differs.
    assert 100 * np.mean((x - y["scores"]) ** 2) / np.var(x) < 0.5
    np.testing.assert_array_equal(captured["logits"], y["scores"])

    # The same transforms on a reference that came as an ONNX file.
    given = loaded(inspect_onnx(path).path, source="onnx", **options)
    with backend.open_reference(given, target=target()) as session:
        np.testing.assert_array_equal(session.run(inputs)["scores"], y["scores"])


def test_an_onnx_reference_is_checked_behind_its_transform(tmp_path):
    b = Builder()
    b.add("Cast", "real", ["pixels"], "output", to=TensorProto.FLOAT)
    path = b.save(tmp_path / "m.onnx", ["N", 16, 16, 3], name="pixels", dtype=TensorProto.UINT8)
    source = plugins.load("sources", "onnx")

    def load(**transform):
        options = {"path": str(path), "inputs": {"image": transform}}
        jsonschema.validate(options, source.options_schema)
        inputs = {"image": InputSpec(shape=("N", 3, 16, 16), dtype="float32")}
        spec = ModelSpec(id="m", task="other", source="onnx", options=options, inputs=inputs)
        return source.load(spec, seed=0)

    assert load(rename="pixels", scale=0.1, layout="nhwc").path == path
    for transform, words in (
        ({"scale": 0.1, "layout": "nhwc"}, "inputs are pixels; the spec declares image"),
        ({"rename": "pixels", "layout": "nhwc"}, "'pixels' is uint8, the spec says float32"),
        ({"rename": "pixels", "scale": 0.1}, r"has shape \['N', 16, 16, 3\]"),
    ):
        with pytest.raises(ModelError, match=words):
            load(**transform)
    with pytest.raises(jsonschema.ValidationError):
        load(renamed="pixels")
