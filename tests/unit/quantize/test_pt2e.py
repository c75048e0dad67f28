"""PT2E: layers under the float network's names, the archive, compiled kernels, programs that quantize nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.layer import LayerRow
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model
from gate.tiers.match import match_layers

torch = pytest.importorskip("torch")
pytest.importorskip("torchao")

EAGER = target_for("torch", {"engine": "x86"})
COMPILED = target_for("torch", {"compile": True})


def quantized(model: LoadedModel, folder: Path, **options: Any) -> Artifact:
    folder.mkdir(exist_ok=True)
    batches = tiny_batches(2)
    return plugins.load("quantizers", "pt2e").quantize(
        model, lambda: iter(batches), options=options, target=EAGER, seed=0, out_dir=folder
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def static(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return quantized(model, tmp_path_factory.mktemp("static"), keep_float=["head"])


def rows_of(artifact: Artifact, model: LoadedModel, target: Any = EAGER) -> tuple[LayerRow, ...]:
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=target) as session:
        return session.layers(tiny_batches(1, 2)[0])


def test_layers_bear_the_float_networks_names(model: LoadedModel, static: Artifact) -> None:
    backend = plugins.load("backends", "torch")
    with backend.open_reference(model, target=EAGER) as session:
        reference = session.layers(tiny_batches(1, 2)[0])
    candidate = rows_of(static, model)
    matching = match_layers(reference, candidate)
    found = {match.candidate: match.reference for match in matching.matches}
    assert found["stem.0"] == ("stem.0", "stem.1")  # batch norm is folded
    assert found["hidden"] == ("hidden",)
    computing = {row.name for row in reference if row.computes}
    assert computing <= {name for names in found.values() for name in names}
    assert matching.unmatched_candidate == ()


def test_what_is_in_integers_is_told_layer_by_layer(model: LoadedModel, static: Artifact) -> None:
    rows = {row.name: row for row in rows_of(static, model)}
    assert not any("quantize" in row.op for row in rows.values())
    assert {name for name, row in rows.items() if row.computes and row.quantized} == {
        "stem.0",
        "conv",
        "hidden",
    }
    conv = rows["conv"]
    assert conv.weight is not None
    assert (conv.weight.scheme, conv.weight.channels) == ("per-channel-symmetric", 16)
    assert conv.params_quantized == conv.params == 16 * 16 * 9
    assert conv.inputs[0].dtype == "uint8"
    assert rows["head"].weight is None


def test_layers_run_alone_as_they_do_in_place(model: LoadedModel, static: Artifact) -> None:
    inputs = tiny_batches(1, 4)[0]
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(static, model=model, target=EAGER) as session:
        captures = {row.name: row.capture for row in session.layers(inputs)}
        seen = dict(session.capture(inputs, [c for c in captures.values() if c]))
        piece = session.isolate(inputs).pieces["conv"]
        assert not isinstance(piece, str), piece
        operands = [
            inputs[operand.input] if operand.input else seen[captures[operand.layer] or ""]
            for operand in piece.operands
        ]
        np.testing.assert_array_equal(piece.run(operands), seen[captures["conv"] or ""])


def test_the_archive_stands_alone(model: LoadedModel, static: Artifact) -> None:
    plugin = plugins.load("quantizers", "pt2e")
    restored = plugin.restore(model, static, target=EAGER)
    other = replace(model, module=torch.nn.Identity())
    given = torch.from_numpy(tiny_batches(1, 3)[0][INPUT])
    again = plugin.restore(other, static, target=EAGER)
    assert torch.equal(restored(given), again(given))


def test_no_float_weight_is_left_beside_its_integers(static: Artifact) -> None:
    held = torch.export.load(static.path).state_dict
    floats = {name for name, value in held.items() if value.dim() > 1 and value.is_floating_point()}
    assert floats == {"head.weight"}


def test_a_module_called_twice_keeps_its_names(model: LoadedModel, tmp_path: Path) -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
            self.relu = torch.nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.second(self.relu(self.first(x)))).mean((2, 3))

    twice = replace(model, module=Twice().eval())
    names = [row.name for row in rows_of(quantized(twice, tmp_path / "q"), twice)]
    assert names == ["first", "relu", "second", "relu#2", "mean"]


def test_a_damaged_archive_is_refused(model: LoadedModel, static: Artifact, tmp_path: Path) -> None:
    broken = tmp_path / "model.pt2"
    broken.write_bytes(static.path.read_bytes()[:2000])
    with pytest.raises(QuantizeError, match=r"model\.pt2"):
        plugins.load("quantizers", "pt2e").restore(
            model, replace(static, path=broken), target=EAGER
        )


def test_an_archive_of_somebody_elses_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    program = torch.export.export(model.module, (torch.rand(2, 3, 12, 12),))
    torch.export.save(program, tmp_path / "model.pt2")
    artifact = Artifact(
        format=Format.TORCH_QUANTIZED,
        path=tmp_path / "model.pt2",
        sha256="",
        size_bytes=0,
        producer="pt2e",
    )
    with pytest.raises(QuantizeError, match=r"model\.pt2"):
        plugins.load("quantizers", "pt2e").restore(model, artifact, target=EAGER)


class UnderNoGrad(torch.nn.Module):
    """What a network looks like whose forward is decorated for inference."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            return self.network(x)


@pytest.mark.parametrize("kind", [Format.TORCH_MODULE, Format.EXPORTED])
def test_layers_under_no_grad_are_an_error_that_says_so(
    model: LoadedModel, tmp_path: Path, kind: Format
) -> None:
    module: Any = UnderNoGrad(model.module).eval()
    if kind is Format.EXPORTED:
        module = torch.export.export(module, (torch.rand(2, 3, 12, 12),))
    with pytest.raises(QuantizeError, match=r"nothing would be quantized.*no_grad\(\)"):
        quantized(replace(model, format=kind, module=module), tmp_path / "q")


def test_a_program_taken_apart_is_an_error_that_says_what_it_computes_by(
    model: LoadedModel, tmp_path: Path
) -> None:
    with torch.no_grad():
        program = torch.export.export(model.module, (torch.rand(2, 3, 12, 12),))
        program = program.run_decompositions()
    exported = replace(model, format=Format.EXPORTED, module=program)
    with pytest.raises(QuantizeError, match=r"nothing was quantized.*2 addmm, 2 convolution"):
        quantized(exported, tmp_path / "q")


def test_an_exported_program_is_quantized_too(model: LoadedModel, tmp_path: Path) -> None:
    exported = tiny_model(Format.EXPORTED, tmp_path)
    rows = rows_of(quantized(exported, tmp_path / "q"), exported)
    assert sum(row.computes and row.quantized for row in rows) == 4
    assert "hidden" in {row.name for row in rows}


def test_keeping_every_layer_in_float_is_an_error(model: LoadedModel, tmp_path: Path) -> None:
    kept = ["stem*", "conv", "hidden", "head"]
    with pytest.raises(QuantizeError, match=r"took none of .*2 conv2d, 2 linear to integers"):
        quantized(model, tmp_path / "q", keep_float=kept)


def test_a_network_that_cannot_be_exported_is_told_from(model: LoadedModel, tmp_path: Path) -> None:
    class Looks(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(QuantizeError, match=r"torch.export \(strict\) refuses the model"):
        quantized(replace(model, module=Looks().eval()), tmp_path / "q")


def test_inductor_makes_integer_kernels(model: LoadedModel, static: Artifact) -> None:
    backend = plugins.load("backends", "torch")
    if reason := backend.unavailable(COMPILED):
        pytest.skip(reason)  # Inductor needs a C++ compiler, which not every machine has
    inputs = tiny_batches(1, 4)[0]
    with backend.open_candidate(static, model=model, target=EAGER) as session:
        wanted = session.run(inputs)["output"]
    with backend.open_candidate(static, model=model, target=COMPILED) as session:
        found = session.run(inputs)["output"]
        rows = session.layers(inputs)
    quantized_rows = {row.name for row in rows if row.computes and row.quantized}
    assert quantized_rows == {"stem.0", "conv", "hidden"}
    # Other kernels round a few values to the other side.
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    assert backend.environment(COMPILED).engine == "inductor"
