"""Makes the weights of the stand-ins: ``python -m specs.training.stand_ins [NAME ...]``.

``make weights`` makes these and all others.

Each network is fitted to the train split of scikit-learn's digits (or to scenes of them) and measured once
on the test split, after the last step; nothing is chosen by it. The result is a function of this file, the
models, the seed and the torch version on one kind of processor: one thread, deterministic kernels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gate.models.torchvision_compat import import_torchvision
from specs.data.digits import rgb, scenes
from specs.models import reduced
from specs.training.digits import reproducible, save_state

Images = tuple[Tensor, Tensor]
PADDING = 3
"""Pixels by which a training image is moved at most."""


def _torchvision(name: str) -> nn.Module:
    # As the specs build it.
    made: nn.Module = import_torchvision().models.get_model(
        name, weights=None, width_mult=0.25, num_classes=10
    )
    return made


def digits(split: str) -> Images:
    """Images as the specs feed them, in [-1, 1], shape (samples, 3, 32, 32), and labels."""
    return _tensors(*rgb(split))


def digit_scenes(split: str) -> Images:
    """Scenes as the specs feed them, shape (samples, 3, 64, 64), and a class for each pixel."""
    return _tensors(*scenes(split, 600 if split == "train" else 400))


def _tensors(images: object, labels: object) -> Images:
    return torch.as_tensor(images).float() / 8 - 1, torch.as_tensor(labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one network is trained."""

    build: Callable[[], nn.Module]
    data: Callable[[str], Images] = digits
    epochs: int = 30
    rate: float = 4e-3
    batch: int = 50
    half: bool = False
    """Keep weights of two axes or more in 16 bits, in the network and in its file."""


RECIPES: dict[str, Recipe] = {
    "mobilenet_v3_large_x0.25": Recipe(build=partial(_torchvision, "mobilenet_v3_large")),
    "mobilenet_v2_x0.25": Recipe(build=partial(_torchvision, "mobilenet_v2")),
    "resnet50_w8": Recipe(build=reduced.resnet50, epochs=60, rate=3e-3),
    "resnet18_w12": Recipe(build=reduced.resnet18, epochs=20),
    "efficientnet_b0_x0.25": Recipe(build=reduced.efficientnet_b0),
    "small_convnet": Recipe(build=reduced.small_convnet, epochs=20, rate=2e-3),
    "deeplabv3_resnet101_w6": Recipe(
        build=reduced.deeplabv3_resnet101, data=digit_scenes, epochs=10, batch=20, half=True
    ),
}


def fit(model: nn.Module, recipe: Recipe) -> None:
    """Cross-entropy with AdamW and one cycle of the learning rate, on images moved at random."""
    images, labels = recipe.data("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=0.01)
    steps = recipe.epochs * -(-len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    loss_of = nn.CrossEntropyLoss()
    model.train()
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(images)).split(recipe.batch):
            batch, wanted = images[chosen], labels[chosen]
            if wanted.ndim == 1:
                batch = moved(batch)
            loss = loss_of(answer(model, batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def kept(model: nn.Module, *, half: bool) -> dict[str, Tensor]:
    """What is written; loading it gives floats of 32 bits again."""
    return {
        name: value.half() if half and value.ndim > 1 else value
        for name, value in model.state_dict().items()
    }


def moved(images: Tensor) -> Tensor:
    """A batch with each image moved by up to ``PADDING`` pixels; what comes in is background."""
    padded = nn.functional.pad(images, (PADDING,) * 4, value=-1.0)
    size = images.shape[-1]
    offsets = torch.randint(0, 2 * PADDING + 1, (len(images), 2)).tolist()
    return torch.stack(
        [
            image[:, top : top + size, left : left + size]
            for image, (top, left) in zip(padded, offsets, strict=True)
        ]
    )


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """Logits, of a classifier or of a segmentation network."""
    made = model(images)
    logits: Tensor = made["out"] if isinstance(made, dict) else made
    return logits


def accuracy_percent(model: nn.Module, recipe: Recipe) -> float:
    """Share of the test samples (or pixels of test scenes) that get their class."""
    images, labels = recipe.data("test")
    right = total = 0
    with torch.no_grad():
        for batch, wanted in zip(images.split(100), labels.split(100), strict=True):
            found = answer(model, batch).argmax(1)
            right += int((found == wanted).sum())
            total += wanted.numel()
    return 100 * right / total


def main(names: list[str]) -> None:
    """Train, measure, save."""
    for name in names or list(RECIPES):
        recipe = RECIPES[name]
        reproducible(seed=0)
        started = time.monotonic()
        model = recipe.build()
        fit(model, recipe)
        state = kept(model, half=recipe.half)
        model.load_state_dict(state)
        found = accuracy_percent(model, recipe)
        sys.stdout.write(
            f"{name}: {found:.2f} % on the test split, {time.monotonic() - started:.0f} s,"
            f" sha256 {save_state(state, name)}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
