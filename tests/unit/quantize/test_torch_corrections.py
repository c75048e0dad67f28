"""Error compensation: equalised ranges, learned rounding, corrected biases."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.models.base import LoadedModel
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize.base import QuantizeError
from gate.testing.tiny import target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")
nn = torch.nn

from gate.quantize._torch_adaround import round_learned  # noqa: E402
from gate.quantize._torch_correct import Correctable, Observed, Recorder  # noqa: E402
from gate.quantize._torch_equalize import equalise  # noqa: E402

TARGET = target_for("torch", {"engine": "fbgemm"})
PER_TENSOR = {"weights": "int8/per-tensor", "observer": "minmax", "reduce_range": False}


def separable(*, spread: float = 1.0) -> Any:
    """conv-bn-relu, depthwise-relu, pointwise-bn, linear; with ``spread`` the channels between the
    layers differ by so much while the function is the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, groups=16, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 24),
            nn.ReLU(),
            nn.Linear(24, 10),
        ).eval()
        for norm in (net[1], net[6]):
            norm.running_var.uniform_(0.5, 2)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.uniform_(0, 0.3)
        for before, after, axis in (
            (net[1], net[3], 0),
            (net[3], net[5], 1),
            (net[10], net[12], 1),
        ):
            factors = spread ** (torch.rand(len(before.weight)) - 0.5)
            before.weight.data.mul_(factors.reshape(-1, *[1] * (before.weight.dim() - 1)))
            before.bias.data.mul_(factors)
            shape = [1] * after.weight.dim()
            shape[axis] = -1
            after.weight.data.div_(factors.reshape(shape))
    return net


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path_factory.mktemp("model"))


def images(seed: int = 5) -> Any:
    return torch.from_numpy(tiny_batches(1, 64, seed=seed)[0]["image"])


def sqnr_db(tiny: LoadedModel, net: Any, out_dir: Path, method: str, **options: Any) -> float:
    out_dir.mkdir()
    model = replace(tiny, module=net)
    batches = tiny_batches()
    artifact = plugins.load("quantizers", method).quantize(
        model,
        lambda: iter(batches),
        options={**PER_TENSOR, **options},
        target=TARGET,
        seed=0,
        out_dir=out_dir,
    )
    backend = plugins.load("backends", "torch")
    inputs = {"image": images().numpy()}
    with backend.open_reference(model, target=TARGET) as session:
        clean = session.run(inputs)["output"]
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        noisy = session.run(inputs)["output"]
    return float(10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum()))


# --- cross-layer equalisation ----------------------------------------------------------------------


def test_equalising_keeps_the_function_and_levels_the_ranges() -> None:
    net, x = separable(spread=1e4), images()
    with torch.no_grad():
        before = net(x)
        assert equalise(net, leave=()) == 3
        torch.testing.assert_close(net(x), before, rtol=1e-3, atol=1e-4)
    for first, second, axis in ((0, 3, 0), (3, 5, 1), (10, 12, 1)):
        made = net[first].weight.flatten(1).abs().amax(1)
        read = net[second].weight.transpose(0, axis).flatten(1).abs().amax(1)
        torch.testing.assert_close(made, read, rtol=0.01, atol=0)


def test_torchs_own_equalisation_of_a_plain_pair_agrees() -> None:
    """torch levels max - min, the gate the largest magnitude: the same for weights and their opposites."""
    from torch.ao.quantization import _equalize

    torch.manual_seed(0)
    half = torch.rand(6, 5) * torch.logspace(-2, 2, 6).reshape(-1, 1)
    second = torch.rand(4, 6)

    def pair() -> Any:
        net = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 8))
        net[0].weight.data.copy_(torch.cat([half, -half], 1))
        net[2].weight.data.copy_(torch.cat([second, -second]))
        net[0].bias.data.fill_(0.5)
        return net

    ours, theirs = pair(), pair()
    equalise(ours, leave=())
    _equalize.equalize(theirs, [["0", "2"]])
    for index in (0, 2):
        torch.testing.assert_close(ours[index].weight, theirs[index].weight, rtol=1e-3, atol=0)
    torch.testing.assert_close(ours[0].bias, theirs[0].bias, rtol=1e-3, atol=0)


@pytest.mark.parametrize("method", ["torch-fx-static", "torch-eager-static"])
def test_equalising_brings_back_what_unlike_channels_cost(
    tiny: LoadedModel, tmp_path: Path, method: str
) -> None:
    like = sqnr_db(tiny, separable(), tmp_path / "like", method)
    unlike = sqnr_db(tiny, separable(spread=1e4), tmp_path / "unlike", method)
    corrected = sqnr_db(
        tiny,
        separable(spread=1e4),
        tmp_path / "corrected",
        method,
        correct=["cross-layer-equalization"],
    )
    assert unlike < like - 10
    assert corrected > like - 3


def test_where_nothing_can_be_equalised_it_is_said(tiny: LoadedModel, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.Flatten()).eval()
    with pytest.raises(QuantizeError, match="no two layers follow one another"):
        equalise(net, leave=())
    with pytest.raises(QuantizeError, match="no two layers"):
        equalise(separable(), leave=["0", "5", "10"])


# --- learned rounding ------------------------------------------------------------------------------


def linear_problem(bits_off: float = 0.02) -> tuple[Any, Any, Any]:
    """A quantized linear layer of 10 inputs that move together, its float layer and the rows."""
    torch.manual_seed(0)
    torch.backends.quantized.engine = "fbgemm"
    layer = nn.Linear(10, 6)
    shared = torch.rand(400, 1)
    rows = shared + 0.05 * torch.rand(400, 10)
    quantized = torch.ao.nn.quantized.Linear(10, 6)
    scales = torch.full((6,), bits_off)
    weight = torch.quantize_per_channel(
        layer.weight.detach(), scales, torch.zeros(6, dtype=torch.int64), 0, torch.qint8
    )
    quantized.set_weight_bias(weight, layer.bias.detach())
    return quantized, layer, rows


def output_error(layer: Any, weight: Any, rows: Any) -> Any:
    return ((rows @ (weight - layer.weight.detach()).T) ** 2).sum(0)


def test_learned_rounding_comes_close_to_the_best_of_all_roundings() -> None:
    with quiet_torch_ao():
        quantized, layer, rows = linear_problem()
    nearest = output_error(layer, quantized.weight().dequantize(), rows)
    before = quantized.weight()
    observed = Observed(layer=layer, relu=False, count=400, rows=[rows.reshape(400, 1, 10)])
    round_learned(
        [Correctable(name="l", quantized=quantized, observed=observed)], iterations=500, seed=0
    )
    after = quantized.weight()
    learned = output_error(layer, after.dequantize(), rows)
    down = torch.floor(layer.weight.detach() / 0.02)
    best = torch.full((6,), torch.inf)
    for ups in product((0.0, 1.0), repeat=10):
        best = torch.minimum(best, output_error(layer, (down + torch.tensor(ups)) * 0.02, rows))
    assert (after.int_repr() - before.int_repr()).abs().max() == 1
    assert torch.equal(after.q_per_channel_scales(), before.q_per_channel_scales())
    assert (learned <= nearest * (1 + 1e-5)).all()
    assert learned.sum() < 0.5 * nearest.sum()
    assert learned.sum() < 4 * best.sum()


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_rows_of_a_convolution_give_its_outputs(dims: int, groups: int) -> None:
    """Each recorded row times the weights is one of the outputs that the convolution makes."""
    torch.manual_seed(0)
    kind = {1: nn.Conv1d, 2: nn.Conv2d}[dims]
    layer = kind(4, 8, 3, stride=2, padding=2, dilation=2, groups=groups)
    x = torch.rand(5, 4, *[11] * dims)
    net = nn.Sequential(layer)
    with Recorder(net, rows=True, seed=0) as recorder, torch.no_grad():
        made = net(x)
    (observed,) = recorder._observed.values()
    (rows,) = observed.rows
    weight = layer.weight.detach().reshape(groups, 8 // groups, -1)
    found = torch.einsum("ngk,gok->ngo", rows, weight).flatten(1) + layer.bias.detach()
    every = made.movedim(1, -1).reshape(-1, 8)
    exact = "donot_use_mm_for_euclid_dist"
    assert float(torch.cdist(found, every, compute_mode=exact).amin(dim=1).max()) < 1e-5
    assert len(torch.unique(rows.flatten(1), dim=0)) > 20


def test_learned_rounding_helps_the_network_on_other_samples(
    tiny: LoadedModel, tmp_path: Path
) -> None:
    options = {"weights": "int8/per-tensor", "activations": "quint8/affine"}
    plain = sqnr_db(tiny, separable(spread=30), tmp_path / "plain", "torch-fx-static", **options)
    learned = sqnr_db(
        tiny,
        separable(spread=30),
        tmp_path / "learned",
        "torch-fx-static",
        correct=["adaround"],
        adaround_iterations=100,
        **options,
    )
    assert learned > plain + 1


# --- bias correction -------------------------------------------------------------------------------


def test_a_corrected_bias_takes_the_mean_error_away(tiny: LoadedModel, tmp_path: Path) -> None:
    """Of the first layer, whose input is all but exact, with weights that are rounded coarsely."""
    mean_errors = {}
    for name, correct in (("plain", []), ("corrected", ["bias-correction"])):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten()).eval()
        torch.manual_seed(1)
        net[0].weight.data.uniform_(-0.1, 0.1)
        net[0].weight.data[0, 0, 0, 0] = 20.0  # one scale for all: the others have few steps
        model = replace(tiny, module=net)
        folder = tmp_path / name
        folder.mkdir()
        batches = tiny_batches()
        artifact = plugins.load("quantizers", "torch-fx-static").quantize(
            model,
            lambda: iter(batches),  # noqa: B023 - called inside the loop
            options={**PER_TENSOR, "correct": correct},
            target=TARGET,
            seed=0,
            out_dir=folder,
        )
        quantized = plugins.load("quantizers", "torch-fx-static").restore(
            model, artifact, target=TARGET
        )
        x = torch.cat([torch.from_numpy(batch["image"]) for batch in batches])
        layer = quantized.get_submodule("0")
        rounded = nn.functional.conv2d(x, layer.weight().dequantize(), layer.bias(), padding=1)
        with torch.no_grad():
            error = (rounded - net[0](x)).mean(dim=(0, 2, 3))
        mean_errors[name] = error.abs()
    assert (mean_errors["plain"][1:] > 1e-3).any()
    assert float(mean_errors["corrected"].max()) < 1e-5


@pytest.mark.parametrize("correct", ["adaround", "bias-correction"])
def test_samples_of_several_sizes_and_nothing_to_correct_are_said(
    tiny: LoadedModel, tmp_path: Path, correct: str
) -> None:
    with pytest.raises(QuantizeError, match="no convolution or linear layer was quantized"):
        sqnr_db(
            tiny,
            separable(),
            tmp_path / "none",
            "torch-fx-static",
            correct=[correct],
            keep_float={"types": ["Conv2d", "Linear"]},
        )
    sizes = [{"image": np.ones((2, 3, size, size), np.float32)} for size in (12, 16)]
    with pytest.raises(QuantizeError, match="inputs of several sizes"):
        plugins.load("quantizers", "torch-fx-static").quantize(
            replace(tiny, module=separable()),
            lambda: iter(sizes),
            options={"correct": [correct]},
            target=TARGET,
            seed=0,
            out_dir=tmp_path,
        )
