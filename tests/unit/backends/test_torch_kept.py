"""Float weights beside integer ones in torch modules of every flow: planted ones are found, others not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from gate import plugins
from gate.backends._torch_session import TorchSession
from gate.core.artifact import Format
from gate.core.layer import KeptFloat
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import LoadedModel
from gate.models.hashing import module_bytes
from gate.quantize import _pt2e_program
from gate.testing.tiny import target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")
nn = torch.nn

X86 = target_for("torch", {"engine": "x86"})


class Functional(nn.Module):
    """Computes by functions with parameters of its own, and holds a head that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(32, 16))
        self.between = nn.Parameter(torch.randn(32, 32))
        self.auxiliary = nn.Linear(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = nn.functional.linear(x, self.weight).relu() @ self.between
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, num_layers=2, batch_first=True)
        self.gru = nn.GRU(16, 16, batch_first=True)
        self.fc = nn.Linear(16, 10)

    def forward(self, rows: Any) -> Any:
        return self.fc(self.gru(self.lstm(rows)[0])[0][:, -1])


class Unread(nn.Module):
    """Around a quantized network: a float tensor that nothing reads."""

    def __init__(self, inner: Any, value: Any) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("left", value)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Read(Unread):
    """As above, and read."""

    def forward(self, x: Any) -> Any:
        return self.inner(x) + self.left.sum() * 0


class Branching(Read):
    """As above, and not to be traced."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) if x.shape[0] and x.abs().sum() >= 0 else x


def loaded(module: Any, *shape: int) -> LoadedModel:
    spec = ModelSpec(
        id="m",
        task="other",
        source="python",
        options={},
        inputs={"x": InputSpec(shape=("N", *shape), dtype="float32")},
    )
    size = module_bytes(module)
    return LoadedModel(
        format=Format.TORCH_MODULE, sha256="", size_bytes=size, spec=spec, module=module.eval()
    )


def restored(method: str, model: LoadedModel, folder: Path, **options: Any) -> Any:
    """The module that a quantizer makes and puts back."""
    quantizer = plugins.load("quantizers", method)
    if reason := quantizer.unavailable():
        pytest.skip(reason)  # an optional package, in its own words
    folder.mkdir(exist_ok=True)
    (name, spec), batches = next(iter(model.spec.inputs.items())), tiny_batches()
    if spec.shape[1:] != (3, 12, 12):
        torch.manual_seed(1)
        batches = [{name: torch.randn(8, *spec.shape[1:]).numpy()} for _ in range(2)]
    artifact = quantizer.quantize(
        model, lambda: iter(batches), options=options, target=X86, seed=0, out_dir=folder
    )
    return quantizer.restore(model, artifact, target=X86)


def told(module: Any, model: LoadedModel) -> tuple[KeptFloat, ...]:
    return TorchSession(
        module,
        reference=model.module,
        inputs=model.spec.inputs,
        engine="x86",
        threads=1,
    ).kept_float()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("model"))


FLOWS = [
    ("torch-dynamic", {}),
    ("torch-fx-static", {}),
    ("torch-fx-static", {"weights": "qint8/per-tensor"}),
    ("torchao-weight-only", {"weights": "int8"}),
    ("torchao-weight-only", {"weights": "int4", "group": 8}),
    ("torchao-dynamic", {}),
]


@pytest.mark.parametrize("around", [Unread, Read, Branching])
@pytest.mark.parametrize(("method", "options"), FLOWS)
def test_the_float_weight_beside_its_integers(
    method: str, options: Any, around: Any, tiny: LoadedModel, tmp_path: Path
) -> None:
    module = restored(method, tiny, tmp_path / "q", **options)
    value = tiny.module.get_submodule("hidden").weight.detach()
    (found,) = told(around(module, value.T.clone()).eval(), tiny)
    assert found.name == "left"
    assert found.size_bytes == 4 * 32 * 256
    assert found.stored.removesuffix(".weight") == "inner.hidden"  # of torchao the parameter
    assert found.unread is (around is Unread)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("torch-fx-static", {}),
        ("torch-eager-static", {}),
        ("torch-qat", {"epochs": 1}),
        ("torch-qat", {"flow": "eager", "epochs": 1}),
    ],
)
def test_the_dequantized_copy_of_a_convolution(method: str, options: Any, tmp_path: Path) -> None:
    """Trained weights are no longer those of the float network; their copies are found all the same."""
    model = tiny_model(Format.TORCH_MODULE, tmp_path, modules_only=True)
    module = restored(method, model, tmp_path / "q", **options)
    copied = module.get_submodule("conv").weight().dequantize()
    (found,) = told(Read(module, copied), model)
    assert (found.name, found.stored) == ("left", "inner.conv")


@pytest.mark.parametrize(("around", "found"), [(Unread, 1), (Read, 0)])
def test_what_equals_no_stored_weight_counts_where_nothing_reads_it(
    around: Any, found: int, tiny: LoadedModel, tmp_path: Path
) -> None:
    module = restored("torch-dynamic", tiny, tmp_path / "q")
    assert len(told(around(module, torch.randn(32, 256)), tiny)) == found


def test_a_copy_inside_of_a_quantized_module(tiny: LoadedModel, tmp_path: Path) -> None:
    module = restored("torch-dynamic", tiny, tmp_path / "q")
    held = module.get_submodule("head")
    held.float_weight = nn.Parameter(held.weight().dequantize())
    (found,) = told(module, tiny)
    assert (found.name, found.stored) == ("head.float_weight", "head")


def test_an_exported_program_that_keeps_its_float_weights(
    tiny: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(restored("pt2e", tiny, tmp_path / "clean"), tiny) == ()
    monkeypatch.setattr(_pt2e_program, "_drop_unread", lambda _: None)
    found = {one.name: one for one in told(restored("pt2e", tiny, tmp_path / "q"), tiny)}
    kept = found["hidden.weight"]
    assert (kept.size_bytes, kept.unread) == (4 * 32 * 256, True)
    assert kept.stored
    assert "conv.weight" in found


HONEST = [
    (Functional, (16,), "torch-fx-static", {}),
    (Functional, (16,), "torch-qat", {"epochs": 1}),
    (Functional, (16,), "torch-dynamic", {}),
    (Functional, (16,), "torchao-weight-only", {"weights": "int8"}),
    (Functional, (16,), "pt2e", {}),
    (Functional, (16,), "torch-cast", {"dtype": "bfloat16"}),
    (Recurrent, (6, 8), "torch-dynamic", {}),
    (Recurrent, (6, 8), "torch-dynamic", {"dtype": "float16"}),
]


@pytest.mark.parametrize(("kind", "shape", "method", "options"), HONEST)
def test_functional_and_recurrent_networks_keep_none(
    kind: Any, shape: tuple[int, ...], method: str, options: Any, tmp_path: Path
) -> None:
    """Neither packed functional weights, nor a head that the float network does not call either."""
    torch.manual_seed(0)
    model = loaded(kind(), *shape)
    module = restored(method, model, tmp_path / "q", **options)
    assert told(module, model) == ()


def test_the_float_network_keeps_none(tiny: LoadedModel) -> None:
    assert told(copy.deepcopy(tiny.module), tiny) == ()
