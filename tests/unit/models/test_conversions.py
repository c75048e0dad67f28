"""torch to ONNX: the same function, names of the modules, the same bytes, dynamic axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.core.artifact import Format
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.conversions import convert, convertible
from gate.testing.tiny import tiny_model

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
nn = torch.nn


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True)
        self.fc = nn.Linear(12, 10)

    def forward(self, rows: Any) -> Any:
        return self.fc(self.lstm(rows)[0][:, -1])


class Several(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.a, self.b, self.kind = nn.Linear(3, 2), nn.Linear(4, 5), kind

    def forward(self, x: Any, y: Any) -> Any:
        results = (self.a(x), self.b(y))
        return dict(zip(("left", "right"), results, strict=True)) if self.kind is dict else results


class FixedBatch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(2, 3) + 1


def loaded(module: Any, **shapes: tuple[int | str, ...]) -> LoadedModel:
    inputs = {name: InputSpec(shape=shape, dtype="float32") for name, shape in shapes.items()}
    spec = ModelSpec(id="m", task="other", source="python", options={}, inputs=inputs)
    return LoadedModel(
        format=Format.TORCH_MODULE, sha256="", size_bytes=0, spec=spec, module=module.eval()
    )


def compare(model: LoadedModel, path: Path, batch: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.standard_normal((batch, *spec.shape[1:])).astype(np.float32)
        for name, spec in model.spec.inputs.items()
    }
    session = ort.InferenceSession(path)
    assert [value.name for value in session.get_inputs()] == list(feeds)
    names = [value.name for value in session.get_outputs()]
    found = dict(zip(names, session.run(None, feeds), strict=True))
    with torch.no_grad():
        expected = model.module(*(torch.from_numpy(array) for array in feeds.values()))
    values = expected.values() if isinstance(expected, dict) else expected
    for one, other in zip(
        found.values(), [values] if torch.is_tensor(values) else values, strict=True
    ):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
    return found


def test_ways_are_known_without_converting() -> None:
    assert convertible(Format.TORCH_MODULE, Format.ONNX)
    assert convertible(Format.ONNX, Format.ONNX)
    assert not convertible(Format.ONNX, Format.TORCH_MODULE)


def test_a_convolutional_network(tmp_path: Path) -> None:
    model = tiny_model(Format.TORCH_MODULE, tmp_path)
    made = [tmp_path / "a", tmp_path / "b"]
    digests = set()
    for folder in made:
        folder.mkdir()
        file = convert(model, Format.ONNX, out_dir=folder)
        digests.add(file.sha256)
    assert len(digests) == 1
    assert file.path is not None
    compare(model, file.path, batch=7)
    content = file.path.read_bytes()
    assert b"/" + b"home" not in content
    assert __file__.encode() not in content
    proto = onnx.load(file.path)
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    assert {"stem.0", "stem.2", "conv", "relu", "pool", "hidden", "head"} <= set(names)
    weights = {tensor.name for tensor in proto.graph.initializer}
    assert {"stem.0.weight", "conv.weight", "hidden.weight", "head.weight"} <= weights


def test_a_recurrent_network_keeps_the_lstm_operator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = loaded(Recurrent(), rows=("N", 8, 8))
    file = convert(model, Format.ONNX, out_dir=tmp_path)
    assert file.path is not None
    compare(model, file.path, batch=5)
    again = tmp_path / "again"
    again.mkdir()
    assert convert(model, Format.ONNX, out_dir=again).sha256 == file.sha256
    proto = onnx.load(file.path)
    recurrent = [node for node in proto.graph.node if node.op_type == "LSTM"]
    assert [node.name for node in recurrent] == ["lstm/l0", "lstm/l1"]
    assert [list(node.input)[1:4] for node in recurrent] == [
        [f"lstm.{part}_l{layer}" for part in "WRB"] for layer in (0, 1)
    ]


@pytest.mark.parametrize(
    ("kind", "names"), [(tuple, ["output_0", "output_1"]), (dict, ["left", "right"])]
)
def test_several_inputs_and_outputs(tmp_path: Path, kind: type, names: list[str]) -> None:
    model = loaded(Several(kind), first=("N", 3), second=("N", 4))
    file = convert(model, Format.ONNX, out_dir=tmp_path)
    assert file.path is not None
    assert list(compare(model, file.path, batch=6)) == names


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be exported to ONNX"):
        convert(loaded(FixedBatch(), x=("N", 3)), Format.ONNX, out_dir=tmp_path)


def test_the_exporter_is_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: Any
) -> None:
    convert(loaded(Recurrent(), rows=("N", 8, 8)), Format.ONNX, out_dir=tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
