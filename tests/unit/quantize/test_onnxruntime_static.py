import subprocess
import sys
from itertools import product

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gate import plugins
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import (
    COMPUTING,
    calibration,
    cnn_model,
    images,
    lstm_model,
    quantize,
    relative_mse_percent,
    target,
)

METHOD = "onnxruntime-static"
KINDS = (
    ("int8/per-channel", "uint8"),
    ("int8/per-tensor", "uint8"),
    ("uint8/per-tensor", "uint8"),
    ("int8/per-channel", "int8"),
)
INTEGER_OPS = {
    "conv1": "QLinearConv",
    "depthwise": "QLinearConv",
    "pointwise": "QLinearConv",
    "conv2": "QLinearConv",
    "fc": "QGemm",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return cnn_model(tmp_path_factory.mktemp("model"))


def table(artifact, model, **options):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=model, target=target(**options)) as session:
        return {row.name: row for row in session.layers(images(2))}


def outputs(artifact, model, inputs):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_reference(model, target=target()) as session:
        x = session.run(inputs)["output"]
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        return x, session.run(inputs)["output"]


@pytest.mark.parametrize(
    ("written", "kind", "calibrate"),
    list(product(("QDQ", "QOperator"), KINDS, ("minmax", "entropy", "percentile"))),
    ids=lambda value: "-".join(value).replace("/", "-") if isinstance(value, tuple) else value,
)
def test_every_combination_computes_the_same_in_integers(model, tmp_path, written, kind, calibrate):
    weights, activations = kind
    artifact = quantize(
        METHOD,
        model,
        tmp_path / "out",
        format=written,
        weights=weights,
        activations=activations,
        calibrate=calibrate,
    )
    x, y = outputs(artifact, model, images(64))
    # Entropy clips these short-tailed ranges on purpose.
    assert 0 < relative_mse_percent(x, y) < (10 if calibrate == "entropy" else 1)
    rows = table(artifact, model)
    computing = {name: row for name, row in rows.items() if row.computes}
    assert list(computing) == list(COMPUTING)
    dtype, granularity = weights.split("/")
    for name, row in computing.items():
        if (written, activations) == ("QDQ", "int8") and name in {"conv1", "depthwise"}:
            # On x86 the runtime leaves some int8 groups in floating point; what counts is its graph.
            assert row.quantized is (row.op == INTEGER_OPS[name])
        else:
            assert row.quantized, name
            assert row.op == INTEGER_OPS[name]
        assert row.params_quantized == row.params > 0
        assert row.weight is not None
        assert row.weight.dtype == dtype
        assert row.weight.scheme.startswith(granularity)
        assert row.output is not None
        assert row.output.dtype == row.outputs[0].dtype == activations
        if granularity == "per-channel":
            assert len(row.weight.scales) == row.weight.channels == row.outputs[0].shape[1]


def test_layers_cover_what_was_folded_into_them(model, tmp_path):
    for written in ("QDQ", "QOperator"):
        rows = table(quantize(METHOD, model, tmp_path / written, format=written), model)
        assert rows["conv1"].covers == ("conv1", "bn1", "relu1")
        assert rows["depthwise"].covers == ("depthwise", "bn2", "relu6")
        assert rows["pointwise"].covers == ()
        assert rows["residual"].covers == ("residual", "relu2")
        assert rows["conv2"].covers == ("conv2", "relu3")
        assert rows["fc"].covers == ()


def test_kept_layers_are_listed_as_float(model, tmp_path):
    artifact = quantize(METHOD, model, tmp_path / "out", keep_float=["conv2", "point*"])
    rows = table(artifact, model)
    assert {n for n, row in rows.items() if row.computes and not row.quantized} == {
        "conv2",
        "pointwise",
    }
    assert rows["conv2"].op == "Conv"
    assert rows["conv2"].weight is None
    assert rows["conv2"].params_quantized == 0
    assert rows["conv1"].quantized


def test_op_types_limit_what_is_quantized(model, tmp_path):
    rows = table(quantize(METHOD, model, tmp_path / "out", op_types=["Gemm"]), model)
    assert {n for n, row in rows.items() if row.computes and row.quantized} == {"fc"}


def test_ranges_are_those_of_all_batches_together(model, tmp_path):
    artifact = quantize(METHOD, model, tmp_path / "out")
    values = np.concatenate([batch["image"] for batch in calibration()])
    scales = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load(str(artifact.path)).graph.initializer
        if t.name == "image_scale"
    }
    assert scales["image_scale"] == pytest.approx((values.max() - values.min()) / 255, rel=1e-6)


def test_percentile_narrows_the_ranges(model, tmp_path):
    def input_scale(**options):
        artifact = quantize(METHOD, model, tmp_path / str(len(options)), **options)
        graph = onnx.load(str(artifact.path)).graph
        return next(
            float(numpy_helper.to_array(t)) for t in graph.initializer if t.name == "image_scale"
        )

    wide = input_scale()
    narrow = input_scale(calibrate="percentile", percentile=99.0)
    values = np.concatenate([batch["image"].ravel() for batch in calibration()])
    low, high = np.percentile(values, [0.5, 99.5])
    assert narrow == pytest.approx((high - low) / 255, rel=0.02)
    assert narrow < 0.8 * wide


def test_symmetric_activations_have_zero_points_in_the_middle(model, tmp_path):
    artifact = quantize(
        METHOD, model, tmp_path / "out", activations="int8", symmetric_activations=True
    )
    rows = table(artifact, model)
    quantized = [row.output for row in rows.values() if row.output is not None]
    assert quantized
    assert {params.scheme for params in quantized} == {"per-tensor-symmetric"}


def test_reduce_range_keeps_weights_in_seven_bits(model, tmp_path):
    def largest(**options):
        artifact = quantize(METHOD, model, tmp_path / str(len(options)), **options)
        graph = onnx.load(str(artifact.path)).graph
        return max(
            np.abs(numpy_helper.to_array(t).astype(int)).max()
            for t in graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
        )

    assert largest() == 127
    assert largest(reduce_range=True) <= 64


def test_bytes_are_the_same_in_another_process(model, tmp_path):
    digests = {quantize(METHOD, model, tmp_path / "here").sha256}
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.onnx_models import loaded, quantize\n"
        f"print(quantize({METHOD!r}, loaded(Path(sys.argv[1])), Path(sys.argv[2])).sha256)"
    )
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", code, str(model.path), str(tmp_path / seed)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(told.stdout.strip())
    assert len(digests) == 1


def test_nothing_is_printed(model, tmp_path, capfd):
    quantize(METHOD, model, tmp_path / "out", calibrate="entropy")
    told = capfd.readouterr()
    assert told.out == told.err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep_float": ["conv9"]}, "'conv9' matches no node.*did you mean 'conv"),
        ({"op_types": ["LSTM"]}, r"nothing was quantized.*Conv \(4\).*op_types: LSTM"),
        ({"keep_float": ["*"]}, r"nothing was quantized.*keep_float: \*"),
        ({"activations": "int8", "weights": "uint8/per-tensor"}, "no kernel exists"),
    ],
)
def test_faults_are_said(model, tmp_path, options, words):
    with pytest.raises(QuantizeError, match=words):
        quantize(METHOD, model, tmp_path / "out", **options)


def test_wrong_calibration_inputs_are_said(model, tmp_path):
    with pytest.raises(QuantizeError, match="inputs are image; the samples have picture"):
        plugins.load("quantizers", METHOD).quantize(
            model,
            lambda: iter([{"picture": images(1)["image"]}]),
            options={},
            target=target(),
            seed=0,
            out_dir=tmp_path,
        )


def test_a_quantized_model_is_not_quantized_again(model, tmp_path):
    from tests.unit.onnx_models import loaded

    artifact = quantize(METHOD, model, tmp_path / "once")
    with pytest.raises(QuantizeError, match=r"quantized already.*'candidate'"):
        quantize(METHOD, loaded(artifact.path), tmp_path / "twice")


def test_the_lstm_stays_float_and_the_rest_does_not(tmp_path):
    model = lstm_model(tmp_path)
    artifact = quantize(METHOD, model, tmp_path / "out")
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.name: row for row in session.layers(images(2, shape=(8, 8)))}
    assert not rows["lstm"].quantized
    assert rows["lstm"].macs == 8 * (96 * 8 + 96 * 24)
    assert rows["fc"].quantized
