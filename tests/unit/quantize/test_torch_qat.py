"""Quantization-aware training: it learns, it is reproducible, and training that was none is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.core.tensors import Array, TensorMap
from gate.data.base import Batch
from gate.models.base import LoadedModel
from gate.quantize.base import LabelledBatches, QuantizeError
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model
from tests.unit.own_module import own_module

torch = pytest.importorskip("torch")

TARGET = target_for("torch", {"engine": "fbgemm"})

ENTRIES = """
import copy
import torch
from torch.ao import quantization

def trains(model, samples, options):
    assert len(samples) == 64
    optimizer = torch.optim.SGD(model.parameters(), lr=options["rate"])
    for inputs, labels in samples(16):
        assert labels.dtype == torch.int64 and len(labels) == len(inputs[0]) == 16
        loss = torch.nn.functional.cross_entropy(model(*inputs), labels)
        optimizer.zero_grad(); loss.backward(); optimizer.step()

def converts_in_the_loop(model, samples, options):
    for inputs, labels in samples(32):
        loss = model(*inputs).square().mean()
        loss.backward()
    model.eval()
    return quantization.quantize_fx.convert_fx(model)

def keeps_training_what_it_converted(model, samples, options):
    for epoch in range(2):
        for inputs, labels in samples(32):
            model(*inputs).square().mean().backward()
        model = quantization.quantize_fx.convert_fx(model.eval())
    return model

def never_enables(model, samples, options):
    model.apply(quantization.disable_fake_quant)
    trains(model, samples, {"rate": 0.1})
    model.apply(quantization.enable_fake_quant)

def enables_for_one_pass(model, samples, options):
    for inputs, labels in samples(16):
        model(*inputs)
        break
    never_enables(model, samples, options)

def observes_before_it_rounds(model, samples, options):
    model.apply(quantization.disable_fake_quant)
    trains(model, samples, options)
    model.apply(quantization.enable_fake_quant)
    for _ in range(2):
        with torch.no_grad():
            for inputs, labels in samples(8):
                model.eval()(*inputs)
        trains(model.train(), samples, options)

def never_observes(model, samples, options):
    model.apply(quantization.disable_observer)
    trains(model, samples, {"rate": 0.1})

def never_steps(model, samples, options):
    for inputs, labels in samples(32):
        model(*inputs).square().mean().backward()

def trains_a_copy(model, samples, options):
    trains(copy.deepcopy(model), samples, {"rate": 0.1})

def only_evaluates(model, samples, options):
    model.eval()
    for inputs, labels in samples(32):
        model(*inputs)

def gives_text(model, samples, options):
    return "done"

def fails(model, samples, options):
    raise ZeroDivisionError(options["say"])
"""


class Labelled:
    """Calibration batches with labels."""

    def __init__(self, labels: list[Array]) -> None:
        self._batches = tiny_batches()
        self._labels = labels

    def __call__(self) -> Iterator[TensorMap]:
        return iter(self._batches)

    def labelled(self) -> Iterator[Batch]:
        for inputs, labels in zip(self._batches, self._labels, strict=True):
            yield Batch(inputs=inputs, labels=labels, indices=tuple(range(len(labels))))


@pytest.fixture
def model(tmp_path: Path) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path)


@pytest.fixture
def labelled() -> Labelled:
    """A class that the float network does not know: whether the image is one of the brighter half."""
    means = [batch[INPUT][:, 0].mean((1, 2)) for batch in tiny_batches()]
    middle = np.median(np.concatenate(means))
    return Labelled([(mean > middle).astype(np.int64) for mean in means])


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_module(tmp_path / "project", "own_loops", ENTRIES, monkeypatch)


def train(
    model: LoadedModel, tmp_path: Path, batches: Any = None, *, seed: int = 0, **options: Any
) -> Artifact:
    out_dir = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
    out_dir.mkdir()
    given = batches if batches is not None else lambda: iter(tiny_batches())
    made = plugins.load("quantizers", "torch-qat").quantize(
        model, given, options=options, target=TARGET, seed=seed, out_dir=out_dir
    )
    assert isinstance(made, Artifact)
    return made


def scores(model: LoadedModel, artifact: Artifact, inputs: TensorMap) -> Array:
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        return session.run(inputs)["output"]


def right(model: LoadedModel, artifact: Artifact, labelled: Labelled) -> float:
    batches = list(labelled.labelled())
    found = [scores(model, artifact, batch.inputs).argmax(1) == batch.labels for batch in batches]
    return float(np.concatenate(found).mean())


def test_labels_of_calibration_samples_are_learned(
    model: LoadedModel, tmp_path: Path, labelled: Labelled
) -> None:
    assert isinstance(labelled, LabelledBatches)
    # Other outputs than before need ranges that follow at once.
    options = {"epochs": 6, "learning_rate": 0.003, "batch": 16, "averaging": 1.0}
    taught = train(model, tmp_path, labelled, **options)
    distilled = train(model, tmp_path, labelled, loss="distillation", **options)
    assert right(model, taught, labelled) > 0.75 > right(model, distilled, labelled)


@pytest.mark.parametrize("task", ["image-classification", "regression"])
def test_distillation_follows_the_float_model(
    model: LoadedModel, tmp_path: Path, task: str
) -> None:
    from dataclasses import replace

    model = replace(model, spec=replace(model.spec, task=task))
    artifact = train(model, tmp_path, epochs=2, learning_rate=1e-3, loss="distillation")
    inputs = tiny_batches(1, 32, seed=7)[0]
    with torch.no_grad():
        wanted = model.module(torch.from_numpy(inputs[INPUT]))
    got = torch.from_numpy(scores(model, artifact, inputs))
    if task == "image-classification":  # a common offset of the scores means nothing
        wanted, got = wanted.softmax(1), got.softmax(1)
    assert float((got - wanted).square().sum() / wanted.square().sum()) < 0.02


def test_the_seed_decides(model: LoadedModel, tmp_path: Path) -> None:
    first, again, other = (train(model, tmp_path, epochs=1, seed=s).sha256 for s in (0, 0, 1))
    assert first == again != other


def test_learned_scales_are_others_than_those_of_the_range(
    model: LoadedModel, tmp_path: Path
) -> None:
    def scales(artifact: Artifact) -> Array:
        backend = plugins.load("backends", "torch")
        with backend.open_candidate(artifact, model=model, target=TARGET) as session:
            rows = session.layers(tiny_batches(1, 2)[0])
        return np.concatenate([row.weight.scales for row in rows if row.weight is not None])

    options = {"epochs": 2, "learning_rate": 0.01, "optimizer": "adam"}
    observed = scales(train(model, tmp_path, **options))
    learned = scales(train(model, tmp_path, scales="learned", **options))
    assert (learned > 0).all()
    assert (np.abs(learned / observed - 1) > 0.001).mean() > 0.5


def test_a_learned_scale_of_a_whole_tensor_in_the_eager_flow(tmp_path: Path) -> None:
    model = tiny_model(Format.TORCH_MODULE, tmp_path, modules_only=True)
    artifact = train(
        model, tmp_path, flow="eager", epochs=1, scales="learned", weights="int8/per-tensor"
    )
    backend = plugins.load("backends", "torch")
    qnnpack = target_for("torch", {"engine": "qnnpack"})  # a state is opened by any engine
    inputs = tiny_batches(1, 8, seed=2)[0]
    with backend.open_candidate(artifact, model=model, target=qnnpack) as session:
        rows = [row for row in session.layers(inputs) if row.computes]
        found = session.run(inputs)["output"]
    assert [len(row.weight.scales) for row in rows] == [1, 1, 1, 1]
    with torch.no_grad():
        wanted = model.module(torch.from_numpy(inputs[INPUT])).numpy()
    assert ((found - wanted) ** 2).sum() < 0.05 * (wanted**2).sum()


def test_frozen_statistics_of_batch_norm_stay(model: LoadedModel) -> None:
    from gate.quantize.torch_qat import _freeze_batch_norm

    module = model.module.train()
    _freeze_batch_norm(module)
    before = {n: t.clone() for n, t in module.state_dict().items() if "running" in n}
    module(torch.from_numpy(tiny_batches()[0][INPUT]))
    assert before
    assert all(torch.equal(module.state_dict()[n], t) for n, t in before.items())


def test_default_freezing_is_told(model: LoadedModel, tmp_path: Path) -> None:
    options = train(model, tmp_path, epochs=3).options
    assert (options["freeze_batch_norm"], options["freeze_observers"]) == (1, 2)


@pytest.mark.parametrize("kept", [["head"], {"first": 1, "last": 1}])
@pytest.mark.parametrize("flow", ["fx", "eager"])
def test_kept_layers_stay_in_float(tmp_path: Path, kept: Any, flow: str) -> None:
    model = tiny_model(Format.TORCH_MODULE, tmp_path, modules_only=True)
    artifact = train(model, tmp_path, flow=flow, epochs=1, keep_float=kept)
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        rows = {r.name: r.quantized for r in session.layers(tiny_batches(1, 2)[0]) if r.computes}
    assert rows == {
        "stem.0": kept == ["head"],
        "conv": True,
        "hidden": True,
        "head": False,
    }


@pytest.mark.usefixtures("entries")
def test_a_loop_of_the_users_own_trains(
    model: LoadedModel, tmp_path: Path, labelled: Labelled
) -> None:
    gentle, rough = (
        train(model, tmp_path, labelled, entry="own_loops:trains", options={"rate": rate})
        for rate in (0.001, 0.1)
    )
    assert gentle.sha256 != rough.sha256
    assert "epochs" not in gentle.options  # of the built-in loop, which did not run


@pytest.mark.usefixtures("entries")
def test_ranges_may_settle_before_fake_quantization_begins(
    model: LoadedModel, tmp_path: Path, labelled: Labelled
) -> None:
    options = {"rate": 0.001}
    made = train(
        model, tmp_path, labelled, entry="own_loops:observes_before_it_rounds", options=options
    )
    assert made.path.is_file()


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("converts_in_the_loop", "gave back a converted model .* convert ends training"),
        ("keeps_training_what_it_converted", "converted inside the training loop"),
        ("never_enables", "quantization-aware training without quantization"),
        ("enables_for_one_pass", "mostly without quantization: 11 of 11 .*: 1 of [0-9]+"),
        ("only_evaluates", "ran no batch in training mode"),
        ("never_observes", "fake-quantizers never saw a value"),
        ("never_steps", "trained nothing: .* left all 4 quantized weights as they were"),
        ("trains_a_copy", "11 of 11 fake-quantizers never saw a value .* never ran those layers"),
        ("gives_text", "returned a str, expected the trained nn.Module"),
        ("fails", "raised ZeroDivisionError: the user's words"),
        ("no_such", "no 'no_such'"),
    ],
)
def test_training_that_was_none_is_refused(
    model: LoadedModel, tmp_path: Path, labelled: Labelled, entry: str, said: str
) -> None:
    options = {"entry": f"own_loops:{entry}", "options": {"say": "the user's words", "rate": 0.1}}
    with pytest.raises(QuantizeError, match=said):
        train(model, tmp_path, labelled, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": 1e-30}, "trained nothing: the built-in loop"),
        ({"learning_rate": 1e30, "optimizer": "sgd"}, "the loss is (nan|inf); lower learning_rate"),
        ({"loss": "labels"}, "loss: labels, but the calibration samples have none"),
        ({"entry": "own_loops:trains", "epochs": 2}, "epochs: options of the built-in loop"),
        ({"momentum": 0.5}, "momentum is an option of sgd, not of adam"),
        ({"keep_float": ["*"]}, "nothing was quantized"),
        ({"flow": "eager"}, "'aten::add.out'.* use FloatFunctional .* or use the FX flow"),
        (
            {"activations": "quint8/symmetric", "reduce_range": True},
            "cannot reduce the range of symmetric activations",
        ),
    ],
)
def test_what_cannot_work_is_said(
    model: LoadedModel, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(QuantizeError, match=said):
        train(model, tmp_path, **{"epochs": 2, **options} if "entry" not in options else options)


def test_labels_of_some_samples_alone_are_refused(
    model: LoadedModel, tmp_path: Path, labelled: Labelled
) -> None:
    some = Labelled([batch.labels for batch in labelled.labelled()])  # type: ignore[misc]
    some._labels[1] = None  # type: ignore[call-overload]

    def batches() -> Iterator[Batch]:
        for inputs, labels in zip(tiny_batches(), some._labels, strict=True):
            yield Batch(inputs=inputs, labels=labels, indices=tuple(range(16)))

    some.labelled = batches  # type: ignore[method-assign]
    with pytest.raises(QuantizeError, match="some calibration samples have a label"):
        train(model, tmp_path, some, epochs=1)


class Erratic(torch.nn.Module):
    """Drops its branch at random in training, as networks with stochastic depth do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.branch = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, image: Any) -> Any:
        x = torch.relu(self.conv(image))
        x = x + torch.nn.functional.dropout(self.branch(x), 0.9, self.training)
        return self.head(x.mean((2, 3)))


def test_what_a_model_does_in_training_alone_is_not_kept(
    model: LoadedModel, tmp_path: Path
) -> None:
    from dataclasses import replace

    torch.manual_seed(0)
    erratic = replace(model, module=Erratic().eval())
    artifact = train(erratic, tmp_path, epochs=1)
    inputs = tiny_batches(1, 4)[0]
    first, again = (scores(erratic, artifact, inputs) for _ in range(2))
    np.testing.assert_array_equal(first, again)
