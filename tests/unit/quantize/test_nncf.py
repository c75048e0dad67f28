"""NNCF on ONNX models: corrections do something, nothing is printed, nothing is sent."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from gate import plugins
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from tests.unit.onnx_models import (
    calibration,
    cnn_model,
    images,
    quantize,
    relative_mse_percent,
    target,
)

METHOD = "nncf"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    if reason := plugins.load("quantizers", METHOD).unavailable():
        pytest.skip(reason)  # an optional package, in its own words
    return cnn_model(tmp_path_factory.mktemp("model"))


def outputs(artifact, model):
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_reference(model, target=target()) as session:
        x = session.run(images(64))["output"]
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        return x, session.run(images(64))["output"]


def test_each_correction_changes_the_file_and_keeps_the_function(model, tmp_path):
    digests = set()
    for number, correct in enumerate(
        ([], ["fast-bias-correction"], ["channel-alignment", "smooth-quant"])
    ):
        artifact = quantize(METHOD, model, tmp_path / str(number), correct=correct)
        digests.add(artifact.sha256)
        assert 0 < relative_mse_percent(*outputs(artifact, model)) < 2
    assert len(digests) == 3


def test_a_corrected_bias_takes_the_mean_error_away(model, tmp_path):
    """Of the outputs by class, on the samples that it was corrected with."""
    seen = np.concatenate([batch["image"] for batch in calibration()])
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_reference(model, target=target()) as session:
        clean = session.run({"image": seen})["output"]
    errors = []
    for name, correct in (("plain", []), ("corrected", ["bias-correction"])):
        artifact = quantize(
            METHOD, model, tmp_path / name, correct=correct, weights="int8/per-tensor"
        )
        with backend.open_candidate(artifact, model=model, target=target()) as session:
            noisy = session.run({"image": seen})["output"]
        errors.append(float(np.abs((noisy - clean).mean(axis=0)).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_layers_whose_clamp_is_rounded_are_integer_layers(model, tmp_path):
    """NNCF rounds after the activation; the runtime fuses it into the convolution all the same."""
    artifact = quantize(METHOD, model, tmp_path / "out", keep_float=["fc"])
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=model, target=target()) as session:
        rows = {row.name: row for row in session.layers(images(2))}
    for name, covers in (
        ("conv1", ("conv1", "bn1", "relu1")),
        ("depthwise", ("depthwise", "bn2", "relu6")),
    ):
        assert rows[name].quantized
        assert rows[name].op == "QLinearConv"
        assert rows[name].covers == covers
    assert not rows["fc"].quantized
    assert rows["fc"].params_quantized == 0


def test_two_bias_corrections_are_refused(model, tmp_path):
    with pytest.raises(QuantizeError, match="two ways of the same"):
        quantize(
            METHOD, model, tmp_path / "out", correct=["bias-correction", "fast-bias-correction"]
        )


def test_nothing_is_printed(model, tmp_path, capfd):
    quantize(METHOD, model, tmp_path / "out")
    told = capfd.readouterr()
    assert told.out == told.err == ""


def test_no_usage_is_reported(model):
    """In a process of its own: within pytest NNCF reports nothing anyway."""
    code = (
        "import sys\n"
        "from gate.quantize.nncf import _silent\n"
        "with _silent():\n    from nncf.telemetry.wrapper import telemetry\n"
        "print(type(telemetry).__module__, 'pytest' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "NNCF"))}
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["unittest.mock", "False"]
