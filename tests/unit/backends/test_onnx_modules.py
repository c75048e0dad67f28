"""Float models exported from torch: their layers are the modules', folded and split ones too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.layer import LayersObserved
from gate.core.spec import InputSpec, ModelSpec
from gate.core.tensors import TensorMap
from gate.metrics.elementwise import sqnr_db
from gate.models.base import LoadedModel
from gate.models.hashing import module_bytes
from gate.models.onnx_files import inspect_onnx
from gate.models.onnx_modules import recorded_modules
from gate.testing.tiny import target_for
from gate.tiers.layers import observe_layers

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
nn = torch.nn

TORCH, ORT = target_for("torch", {"engine": "x86"}), target_for("onnxruntime", {})


class Network(nn.Module):
    """Folded, split, shared and re-ordered: everything that an exporter does to modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.2)
        self.up = nn.Linear(6, 12)
        self.lstm = nn.LSTM(12, 9, batch_first=True)
        self.head = nn.Linear(9, 5)

    def forward(self, image: Any) -> Any:
        x = self.act(self.bn(self.conv(image)))
        x = (x + image).mean(dim=3).transpose(1, 2)
        x = self.act(self.up(self.drop(x)))
        return self.head(self.lstm(x)[0])


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.manual_seed(0)
    module = Network().eval()
    with torch.no_grad():
        module.bn.running_mean.normal_(0, 0.5)
        module.bn.running_var.uniform_(0.02, 0.5)
    inputs = {"image": InputSpec(shape=("N", 1, 8, 8), dtype="float32")}
    spec = ModelSpec(id="m", task="other", source="python", options={}, inputs=inputs)
    return LoadedModel(
        format=Format.TORCH_MODULE,
        sha256="",
        size_bytes=module_bytes(module),
        spec=spec,
        module=module,
    )


@pytest.fixture(scope="module")
def exported(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    made: Artifact = plugins.load("quantizers", "none").quantize(
        model, None, options={}, target=ORT, seed=0, out_dir=tmp_path_factory.mktemp("none")
    )
    return made


def observed(model: LoadedModel, artifact: Artifact) -> LayersObserved:
    generator = np.random.default_rng(0)
    x = {"image": generator.standard_normal((4, 1, 8, 8)).astype(np.float32)}

    def batches(_size: int) -> Iterator[TensorMap]:
        yield x

    backends = {name: plugins.load("backends", name) for name in ("torch", "onnxruntime")}
    with (
        backends["torch"].open_reference(model, target=TORCH) as reference,
        backends["onnxruntime"].open_candidate(artifact, model=model, target=ORT) as candidate,
    ):
        seen = observe_layers(reference, candidate, sample=x, batches=batches, tick=lambda _: None)
    return seen.layers


def test_every_module_is_compared_where_its_output_is(
    model: LoadedModel, exported: Artifact
) -> None:
    layers = observed(model, exported)
    matched = {match.candidate: match for match in layers.matches}
    assert {name: match.reference for name, match in matched.items()} == {
        "conv": ("conv", "bn"),
        "act": ("act",),
        "drop": ("drop", "up"),
        "act#2": ("act#2",),
        "lstm": ("lstm",),
        "head": ("head",),
    }
    for name, match in matched.items():
        value = sqnr_db(match.errors) if match.errors is not None else None
        assert value is not None, name
        assert value > 100, name


def test_costs_are_those_of_the_modules(model: LoadedModel, exported: Artifact) -> None:
    layers = observed(model, exported)
    reference = {row.name: row for row in layers.reference}
    candidate = {row.name: row for row in layers.candidate}
    for name, theirs in (("conv", "conv"), ("drop", "up"), ("lstm", "lstm"), ("head", "head")):
        assert candidate[name].macs == reference[theirs].macs, name
        assert candidate[name].params == reference[theirs].params, name
    assert sum(row.computes for row in candidate.values()) == 4


def test_a_fault_shows_in_its_own_layer(
    model: LoadedModel, exported: Artifact, tmp_path: Path
) -> None:
    proto = onnx.load(exported.path)
    (weight,) = (t for t in proto.graph.initializer if t.name == "conv.weight")
    weight.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.05, weight.name)
    )
    broken = tmp_path / "broken.onnx"
    onnx.save(proto, broken)
    parts = inspect_onnx(broken)
    artifact = Artifact(
        format=Format.ONNX,
        path=broken,
        sha256=parts.sha256,
        size_bytes=parts.size_bytes,
        producer="none",
    )
    first = observed(model, artifact).matches[0]
    value = sqnr_db(first.errors) if first.errors is not None else None
    assert first.candidate == "conv"
    assert value is not None
    assert value < 40


def test_without_the_record_nothing_is_taken_for_a_module(
    model: LoadedModel, exported: Artifact, tmp_path: Path
) -> None:
    proto = onnx.load(exported.path)
    del proto.metadata_props[:]
    bare = tmp_path / "bare.onnx"
    onnx.save(proto, bare)
    artifact = Artifact(format=Format.ONNX, path=bare, sha256="", size_bytes=0, producer="none")
    layers = observed(model, artifact)
    assert layers.matches == ()
    assert "conv" in layers.unmatched_reference
    assert "conv@candidate" in layers.unmatched_candidate


def test_the_record_names_tensors_of_the_file(exported: Artifact) -> None:
    proto = inspect_onnx(exported.path).proto
    made = {name for node in proto.graph.node for name in node.output}
    record = recorded_modules(proto)
    assert set(record) <= made
    assert record[proto.graph.output[0].name] == ("head",)
    between = [tensor for tensor, covers in record.items() if not covers]
    assert between  # the addition, the mean and the transposition are no module's
