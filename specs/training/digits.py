"""Trains a digits network on the train split alone, and measures it on the test split.

The result is a function of this file, the seed and the torch version: one thread, deterministic
kernels. The test split is looked at once, after the last step; nothing is chosen by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gate.data.sklearn_digits import SklearnDigits

WEIGHTS = Path(__file__).parent.parent / "weights"
BATCH = 50


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1], shape (samples, 8, 8), and labels of one split."""
    data = SklearnDigits().open({"split": split})
    images = torch.stack([torch.from_numpy(data.raw(i)) for i in range(len(data))])
    labels = torch.tensor([data.label(i) for i in range(len(data))])
    return images.float() / 16, labels


def train(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    epochs: int,
    rate: float,
    augment: Callable[[Tensor], Tensor] = lambda images: images,
) -> None:
    """Fit ``model`` to the train split; ``shape`` is that of one input."""
    images, labels = digits("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = augment(images[chosen]).reshape(-1, *shape)
            loss = loss_of(model(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def shifted(images: Tensor) -> Tensor:
    """Each image moved by up to one pixel in both directions."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(images), 2)).tolist()
    moved = [
        image[top : top + 8, left : left + 8]
        for image, (top, left) in zip(padded, offsets, strict=True)
    ]
    return torch.stack(moved)


def accuracy_percent(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Top-1 on the 797 test samples."""
    images, labels = digits("test")
    with torch.no_grad():
        right = model(images.reshape(-1, *shape)).argmax(1) == labels
    return 100 * right.double().mean().item()


def reproducible(seed: int) -> None:
    """One thread, fixed seeds, deterministic kernels."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def save(model: nn.Module, name: str) -> str:
    """Write ``weights/<name>.safetensors`` and return its SHA-256."""
    return save_state(model.state_dict(), name)


def save_state(state: Mapping[str, Tensor], name: str) -> str:
    """The same of a state dict."""
    WEIGHTS.mkdir(exist_ok=True)
    path = WEIGHTS / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    path.chmod(0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest()
