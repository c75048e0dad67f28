"""The class behind ``gate.testing.tiny``; apart because importing it imports torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """(N, 3, 12, 12) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3)
        self.hidden = nn.Linear(256, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.stem(image)
        x = self.relu(self.bn(self.conv(x)) + x)
        x = torch.flatten(self.pool(x), 1)
        return self.head(torch.relu(self.hidden(x)))  # type: ignore[no-any-return]


class TinyModulesNet(TinyNet):
    """The same function of the same parameters, written for torch's eager flow: all that computes is a
    module, and none is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.quantized.FloatFunctional()
        self.flatten = nn.Flatten()
        self.hidden_relu = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = self.stem(image)
        x = self.relu(self.sum.add(self.bn(self.conv(x)), x))
        x = self.flatten(self.pool(x))
        return self.head(self.hidden_relu(self.hidden(x)))  # type: ignore[no-any-return]
