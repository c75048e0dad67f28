"""Makes the weights of ``specs/systems/task_*.yaml``: ``python -m specs.training task_regression ...``.

Each network is fitted to the train split of its data and measured once on the test split, after the last
step; nothing is chosen by it. The result is a function of this file, the models, the data, the seed and the
version of torch on one kind of processor: one thread, deterministic kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gate.metrics.verification import EqualErrorRate, area_under_curve
from specs.data import tasks as data
from specs.data.digits import planes
from specs.models import tasks as models
from specs.training.digits import shifted

Pair = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
NOISE = 0.1
"""Deviation of what is added to a digit before it is written down, in shares of black."""
MARGIN_SCALE = 10.0
TRAINING_LINES = 3000
USUAL, SPREAD = 150.0, 75.0
"""About the mean and the deviation of the disease in the train split; the last layer takes them in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one network is trained."""

    build: Callable[[], nn.Module]
    data: Callable[[str], Pair]
    loss: Loss
    measure: Callable[[nn.Module], str]
    helper: Callable[[], nn.Module] = nn.Identity
    """What is trained beside the network and left out of its file; ``model[1]`` in training."""
    finish: Callable[[nn.Module], object] = nn.Module.eval
    """What is done to the network after the last step."""
    epochs: int
    rate: float
    batch: int = 50
    decay: float = 0.01


def tensors(inputs: object, wanted: object) -> Pair:
    """The same as tensors."""
    return torch.as_tensor(inputs), torch.as_tensor(wanted)


def trained(recipe: Recipe) -> nn.Module:
    """AdamW with one cycle of the learning rate."""
    inputs, wanted = recipe.data("train")
    model = nn.ModuleList([recipe.build(), recipe.helper()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * -(-len(inputs) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    model.train()
    for chosen in _batches(len(inputs), recipe):
        loss = recipe.loss(model, inputs[chosen], wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    recipe.finish(model[0])
    return model[0].eval()


def _batches(samples: int, recipe: Recipe) -> Iterator[Tensor]:
    for _ in range(recipe.epochs):
        yield from torch.randperm(samples).split(recipe.batch)


# --- transcription -------------------------------------------------------------------------------


def _lines(split: str) -> Pair:
    """Texts as rows of symbols, padded with the blank."""
    made, texts = data.lines(split, TRAINING_LINES if split == "train" else 400)
    symbols = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in zip(symbols, texts, strict=True):
        row[: len(text)] = [data.DIGITS.index(symbol) for symbol in text]
    return tensors(made, symbols)


def _ctc(model: nn.Module, columns: Tensor, symbols: Tensor) -> Tensor:
    scores = model[0](columns).log_softmax(2).transpose(0, 1)
    steps = torch.full((len(columns),), len(scores), dtype=torch.long)
    return nn.functional.ctc_loss(scores, symbols, steps, (symbols > 0).sum(1))


def _right_lines(model: nn.Module) -> str:
    columns, symbols = _lines("test")
    right = 0
    for row, text in zip(model(columns).argmax(2), symbols, strict=True):
        found = torch.unique_consecutive(row)
        right += int(torch.equal(found[found > 0], text[text > 0]))
    return f"{100 * right / len(symbols):.1f} % of the lines read without an error"


# --- language model ------------------------------------------------------------------------------


def _likelihood(model: nn.Module, text: Tensor, following: Tensor) -> Tensor:
    scores = model[0](text)
    return nn.functional.cross_entropy(
        scores.flatten(0, 1), following.flatten(), ignore_index=data.NOT_COUNTED
    )


def _perplexity(model: nn.Module) -> str:
    nats = _likelihood(nn.ModuleList([model]), *tensors(*data.windows("test")))
    return f"perplexity {nats.exp().item():.2f}"


# --- verification --------------------------------------------------------------------------------


class Proxies(nn.Module):
    """A direction for each digit: cosines to it are the scores of a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 32))

    def forward(self, embeddings: Tensor) -> Tensor:
        a, b = (nn.functional.normalize(x) for x in (embeddings, self.weight))
        return MARGIN_SCALE * a @ b.T


def _alike(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    moved = shifted(images[:, 0])[:, None]
    return nn.functional.cross_entropy(model[1](model[0](moved)), labels)


def _equal_error(model: nn.Module) -> str:
    images, labels = tensors(*planes("test"))
    unit = nn.functional.normalize(model(images)).double().numpy()
    first, second = np.triu_indices(len(unit), k=1)
    rate = EqualErrorRate(
        (unit @ unit.T)[first, second], labels.numpy()[first] == labels.numpy()[second]
    )
    return f"equal error rate {100 * rate():.2f} %"


# --- anomaly detection ---------------------------------------------------------------------------


def _drawn_again(model: nn.Module, images: Tensor, _: Tensor) -> Tensor:
    return nn.functional.mse_loss(model[0](images + NOISE * torch.randn_like(images)), images)


def _area(model: nn.Module) -> str:
    images, anomalous = tensors(*data.pixels("test"))
    score = (model(images) - images).square().mean(1)
    return f"area under the curve {100 * area_under_curve(anomalous, score):.1f} %"


# --- regression ----------------------------------------------------------------------------------


def _patients(split: str) -> Pair:
    return tensors(*data.patients(split))


def _distance(model: nn.Module, measured: Tensor, disease: Tensor) -> Tensor:
    return nn.functional.huber_loss(model[0](measured)[:, 0], (disease - USUAL) / SPREAD)


def _in_its_unit(model: nn.Module) -> None:
    with torch.no_grad():
        model.answer.weight.mul_(SPREAD)
        model.answer.bias.mul_(SPREAD).add_(USUAL)


def _mean_error(model: nn.Module) -> str:
    measured, disease = _patients("test")
    return f"mean absolute error {(model(measured)[:, 0] - disease).abs().mean().item():.1f}"


RECIPES: dict[str, Recipe] = {
    "task_transcription": Recipe(
        build=models.transcriber, data=_lines, loss=_ctc, measure=_right_lines, epochs=20, rate=6e-3
    ),
    "task_language_model": Recipe(
        build=models.language_model,
        data=lambda split: tensors(*data.windows(split)),
        loss=_likelihood,
        measure=_perplexity,
        epochs=30,
        rate=8e-3,
        batch=32,
    ),
    "task_verification": Recipe(
        build=models.embedder,
        helper=Proxies,
        data=lambda split: tensors(*planes(split)),
        loss=_alike,
        measure=_equal_error,
        epochs=15,
        rate=4e-3,
    ),
    "task_anomaly": Recipe(
        build=models.autoencoder,
        data=lambda split: tensors(*data.pixels(split)),
        loss=_drawn_again,
        measure=_area,
        epochs=120,
        rate=3e-3,
    ),
    "task_regression": Recipe(
        build=models.regressor,
        finish=_in_its_unit,
        data=_patients,
        loss=_distance,
        measure=_mean_error,
        epochs=15,
        rate=3e-3,
        decay=0.1,
    ),
}


def train(name: str) -> tuple[nn.Module, str]:
    """A trained network and what it reaches."""
    recipe = RECIPES[name]
    model = trained(recipe)
    with torch.no_grad():
        return model, recipe.measure(model)
