"""The torchvision and python sources: identity, seeds, batch-norm statistics, refusals."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gate import plugins
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.testing.checks import assert_closed_object_schema, loads_no_framework
from tests.unit.own_module import own_module

torch = pytest.importorskip("torch")
if find_spec("torchvision") is None:  # importing it may need the gate's help
    pytest.skip("torchvision is not installed", allow_module_level=True)

SIZE = 32


def load(source: str, *, seed: int = 0, **options: Any) -> LoadedModel:
    plugin = plugins.load("sources", source)
    jsonschema.validate(options, plugin.options_schema)
    spec = ModelSpec(
        id="m",
        task="image-classification",
        source=source,
        options=options,
        inputs={"image": InputSpec(shape=("N", 3, SIZE, SIZE), dtype="float32")},
    )
    loaded = plugin.load(spec, seed=seed)
    assert isinstance(loaded, LoadedModel)
    return loaded


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = (
        "import numpy, torch\n"
        "def net(width=4): return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.ReLU())\n"
        "def number(): return 3\n"
        "def images(): return numpy.full((8, 3, 32, 32), 2.0, 'float32')\n"
    )
    return own_module(tmp_path, "own_models", source, monkeypatch)


@pytest.mark.parametrize("name", ["torchvision", "python", "onnx", "exported"])
def test_sources_are_declared_without_a_framework(name: str) -> None:
    assert loads_no_framework("sources", name) == []
    assert_closed_object_schema(plugins.load("sources", name).options_schema)


def test_the_seed_decides_the_weights() -> None:
    first, same, other = (load("torchvision", name="resnet18", seed=s) for s in (1, 1, 2))
    assert first.sha256 == same.sha256
    assert first.sha256 != other.sha256
    assert not first.module.training


def test_recalibrated_statistics_keep_mobilenet_alive() -> None:
    image = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    spread = {}
    for recalibrate in (False, True):
        options = {"recalibrate_bn": {"noise": 32}} if recalibrate else {}
        model = load("torchvision", name="mobilenet_v3_small", **options)
        with torch.no_grad():
            spread[recalibrate] = float(model.module(image).std(0).mean())
    assert spread[False] < 1e-4
    assert spread[True] > 1e-3


def test_recalibration_takes_the_mean_over_an_entry_s_batches(project: Path) -> None:
    model = load("torchvision", name="resnet18", recalibrate_bn={"entry": "own_models:images"})
    stem = model.module.conv1(torch.full((8, 3, SIZE, SIZE), 2.0))
    torch.testing.assert_close(model.module.bn1.running_mean, stem.mean((0, 2, 3)))
    torch.testing.assert_close(model.module.bn1.running_var, stem.var((0, 2, 3)))
    assert model.module.bn1.momentum == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "resnet81"}, r"no model 'resnet81' \(did you mean 'resnet18'"),
        ({"name": "resnet18", "kwargs": {"widht": 2}}, "refuses its kwargs"),
        ({"name": "resnet18", "weights": {"enum": "IMAGENET"}}, "it has IMAGENET1K_V1"),
        ({"name": "vgg11", "recalibrate_bn": {"noise": 2}}, "no batch-norm layer"),
    ],
)
def test_mistakes_are_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load("torchvision", **options)


def test_weights_that_the_network_does_not_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ModelError, match=r"cannot be downloaded.*weights\.path"):
        load("torchvision", name="resnet18", weights={"enum": "DEFAULT"})


def test_weights_that_were_fetched_before_are_those_of_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"cut short")
    with pytest.raises(ModelError, match=r"demands one that begins with f37072fd"):
        load("torchvision", name="resnet18", weights={"enum": "DEFAULT"})


def test_an_entry_s_arguments_change_the_identity(project: Path) -> None:
    narrow = load("python", entry="own_models:net")
    wide = load("python", entry="own_models:net", kwargs={"width": 8})
    assert narrow.sha256 != wide.sha256
    assert narrow.size_bytes == 4 * (3 * 4 * 9 + 4)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("own_models:number", "returned a int, expected an nn.Module"),
        ("os:getcwd", "not trusted"),
        ("own_models:nett", "did you mean 'net'"),
    ],
)
def test_entries_are_checked(project: Path, entry: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load("python", entry=entry)


def test_structure_and_state_are_both_part_of_the_identity() -> None:
    from gate.models.hashing import module_sha256

    def digest(stride: int = 1, bias: float = 0.0) -> str:
        conv = torch.nn.Conv2d(1, 1, 1, stride=stride)
        torch.nn.init.ones_(conv.weight)
        torch.nn.init.constant_(conv.bias, bias)
        return module_sha256(conv)

    assert digest() == digest()
    assert len({digest(), digest(stride=2), digest(bias=0.5)}) == 3
