"""Mixed precision: what stays in float by name, type, place and sensitivity, in every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from gate.quantize.keep_float import (
    Layer,
    choose,
    keep_float_schema,
    parse_keep_float,
    with_kept_names,
)
from gate.testing.tiny import target_for, tiny_batches, tiny_model
from tests.unit import onnx_models

LAYERS = [
    Layer(name="stem.0", kind="Conv2d", weighted=True),
    Layer(name="middle", kind="Conv2d", weighted=True),
    Layer(name="head", kind="Linear", weighted=True),
    Layer(name="stem", kind="Sequential"),
    Layer(name="stem.1", kind="BatchNorm2d"),
]
NOISE = {"stem.0": 0.1, "middle": 0.7, "head": 0.3}


def chosen(option: Any) -> list[str]:
    jsonschema.validate(option, keep_float_schema(names="names", types="types"))
    return choose(parse_keep_float(option), LAYERS, noise=lambda _: NOISE, what="module")


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        ([], []),
        (["stem*"], ["stem.0", "stem", "stem.1"]),
        ({"names": ["head"], "types": ["Batch*"]}, ["head", "stem.1"]),
        ({"first": 1}, ["stem.0"]),
        ({"last": 2}, ["middle", "head"]),
        ({"first": 1, "last": 1}, ["stem.0", "head"]),
        ({"sensitivity": 2}, ["middle", "head"]),
        ({"first": 1, "sensitivity": 1}, ["stem.0", "middle"]),
    ],
)
def test_choices_add_up(option: Any, kept: list[str]) -> None:
    assert chosen(option) == kept


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["haed"], "'haed' matches no module of the model; did you mean 'head'"),
        ({"types": ["LSTM"]}, "'LSTM' matches no type of module.*Conv2d, Linear, Sequential"),
        ({"last": 4}, "last: 4 of 3 layers with weights"),
        ({"sensitivity": 9}, "sensitivity: 9 of 3"),
    ],
)
def test_choices_of_nothing_are_errors(option: Any, said: str) -> None:
    with pytest.raises(QuantizeError, match=said):
        chosen(option)


def test_equal_noise_is_decided_by_order_and_noise_is_measured_only_where_asked() -> None:
    keep = parse_keep_float({"sensitivity": 1})
    assert choose(keep, LAYERS, noise=lambda _: {}, what="module") == ["stem.0"]

    def never(_: Any) -> dict[str, float]:
        raise AssertionError

    assert choose(parse_keep_float({"first": 1}), LAYERS, noise=never, what="module") == ["stem.0"]


def test_names_are_added_in_the_form_that_the_option_has() -> None:
    assert with_kept_names(None, ["a"]) == ["a"]
    assert with_kept_names(["a"], ["b", "a"]) == ["a", "b"]
    assert with_kept_names({"first": 1}, ["a"]) == {"first": 1, "names": ["a"]}


# --- on real networks ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    pytest.importorskip("torch")
    return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("model"))


def float_layers(model: LoadedModel, out_dir: Path, method: str, keep: Any) -> tuple[Any, set[str]]:
    out_dir.mkdir(exist_ok=True)
    batches = tiny_batches()
    target = target_for("torch", {"engine": "x86"})
    artifact = plugins.load("quantizers", method).quantize(
        model,
        lambda: iter(batches),
        options={"keep_float": keep},
        target=target,
        seed=0,
        out_dir=out_dir,
    )
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=target) as session:
        rows = session.layers(tiny_batches(1, 2)[0])
    return artifact, {row.name for row in rows if row.computes and not row.quantized}


@pytest.mark.parametrize(
    ("method", "keep", "kept"),
    [
        ("torch-fx-static", {"first": 1, "last": 1}, {"stem.0", "head"}),
        ("torch-fx-static", {"types": ["Sequential"]}, {"stem.0"}),
        ("torch-dynamic", {"names": ["hidden"]}, {"stem.0", "conv", "hidden"}),
    ],
)
def test_torch_keeps_what_was_chosen(
    model: LoadedModel, tmp_path: Path, method: str, keep: Any, kept: set[str]
) -> None:
    assert float_layers(model, tmp_path, method, keep)[1] == kept


def test_the_most_sensitive_layer_is_the_one_that_costs_most(
    model: LoadedModel, tmp_path: Path
) -> None:
    """Measured here by the real kernels: each layer's noise is what the output gains without it."""
    sensitive, found = float_layers(model, tmp_path / "one", "torch-fx-static", {"sensitivity": 1})
    assert sensitive.options["kept_in_float"] == list(found)
    inputs = tiny_batches(2, 32, seed=3)[0]
    target = target_for("torch", {"engine": "x86"})
    backend = plugins.load("backends", "torch")
    with backend.open_reference(model, target=target) as session:
        clean = session.run(inputs)["output"]
    noise = {}
    for name in ("stem.0", "conv", "hidden", "head"):
        artifact, _ = float_layers(model, tmp_path / name, "torch-fx-static", [name])
        with backend.open_candidate(artifact, model=model, target=target) as session:
            noise[name] = float(np.square(session.run(inputs)["output"] - clean).sum())
    assert found == {min(noise, key=noise.__getitem__)}


def test_sensitivity_needs_samples(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="sensitivity needs calibration samples"):
        plugins.load("quantizers", "torch-dynamic").quantize(
            model,
            None,
            options={"keep_float": {"sensitivity": 1}},
            target=target_for("torch"),
            seed=0,
            out_dir=tmp_path,
        )


@pytest.mark.parametrize(
    ("method", "keep", "kept"),
    [
        ("onnxruntime-static", {"first": 1, "last": 1}, {"conv1", "fc"}),
        ("onnxruntime-static", {"types": ["Gemm"], "names": ["point*"]}, {"pointwise", "fc"}),
        ("onnxruntime-dynamic", {"types": ["Conv"]}, {"conv1", "depthwise", "pointwise", "conv2"}),
    ],
)
def test_onnxruntime_keeps_what_was_chosen(
    tmp_path: Path, method: str, keep: Any, kept: set[str]
) -> None:
    network = onnx_models.cnn_model(tmp_path)
    artifact = onnx_models.quantize(method, network, tmp_path / "out", keep_float=keep)
    assert onnx_float_layers(artifact, network) == kept


def test_onnxruntime_finds_the_layer_with_the_worst_weights(tmp_path: Path) -> None:
    """One channel between two layers is 300 times smaller than the others and read by weights that
    are so much larger: next to them the other weights are rounded to nothing."""
    builder = onnx_models.Builder()
    onnx_models.cnn(builder)
    import onnx
    from onnx import numpy_helper

    path = builder.save(tmp_path / "cnn.onnx", ["N", 3, 16, 16])
    proto = onnx.load_model(str(path))
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for name, index, factor in (
        ("bn2.scale", 0, 1 / 300),
        ("bn2.bias", 0, 1 / 300),
        ("wp", (slice(None), 0), 300),
    ):
        values = numpy_helper.to_array(tensors[name]).copy()
        values[index] *= factor
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    onnx.save_model(proto, str(path))
    network = onnx_models.loaded(path)
    artifact = onnx_models.quantize(
        "onnxruntime-static", network, tmp_path / "out", keep_float={"sensitivity": 1}
    )
    assert onnx_float_layers(artifact, network) == {"pointwise"}


def onnx_float_layers(artifact: Any, network: LoadedModel) -> set[str]:
    backend = plugins.load("backends", "onnxruntime")
    with backend.open_candidate(artifact, model=network, target=onnx_models.target()) as session:
        rows = session.layers(onnx_models.images(2))
    return {row.name for row in rows if row.computes and not row.quantized}
