"""Networks as articles print them."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


def small_as_printed() -> nn.Module:
    """Conv2d(3, 64, 3), ReLU, flatten, Linear(64, 10): the linear layer fits an image of 3 x 3 only."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 64, 3),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            classes=nn.Linear(64, 10),
        )
    )


def small_that_runs() -> nn.Module:
    """The same with an average over the image before the linear layer."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 64, 3),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classes=nn.Linear(64, 10),
        )
    )


def stub_conv() -> nn.Module:
    """What the recipe for "ResNet-18" quantizes: one convolution."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 64, 3)))


def lstm(inputs: int = 256, hidden: int = 512) -> nn.Module:
    """An LSTM of a usual size with drawn weights. Input (N, time, inputs), output (N, hidden)."""
    return LastState(inputs, hidden)


class LastState(nn.Module):
    """The state after the last step."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, steps: Tensor) -> Tensor:
        """Run over the time steps."""
        states, _ = self.lstm(steps)
        return states[:, -1]
