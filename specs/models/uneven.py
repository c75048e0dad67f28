"""A small MobileNet for the digits whose channels differ widely in range."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from specs.models.digits import CLASSES, conv_bn_relu

WIDTHS = (16, 32, 32, 64)
STRIDES = (2, 1, 2)


def mobilenet() -> nn.Module:
    """Stem, three depthwise-separable blocks, average pooling and a linear layer, about 8 000
    parameters. Input (N, 1, 8, 8), output (N, 10)."""
    return DigitsMobileNet()


class DigitsMobileNet(nn.Module):
    """See :func:`mobilenet`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_relu(1, WIDTHS[0])
        self.blocks = nn.Sequential(
            *(
                _separable(inputs, outputs, stride)
                for inputs, outputs, stride in zip(WIDTHS[:-1], WIDTHS[1:], STRIDES, strict=True)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.classes(self.pool(self.blocks(self.stem(image))).flatten(1))


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            depthwise=conv_bn_relu(inputs, inputs, stride=stride, groups=inputs),
            pointwise=conv_bn_relu(inputs, outputs, kernel=1),
        )
    )


def make_uneven(model: DigitsMobileNet, spread: float) -> None:
    """Scale the channels between each depthwise and pointwise layer by factors from 1 / spread to
    spread, and undo it in the pointwise weights: the same function, and a range for each channel.

    ReLU lets a positive factor through, so that training is free to leave channels as far apart as
    this: those of MobileNetV2 differ a hundredfold (Nagel et al. 2019, Data-free quantization through
    weight equalization and bias correction, figure 2).
    """
    with torch.no_grad():
        for block in model.blocks:
            norm, mixing = block.depthwise.bn, block.pointwise.conv
            channels = norm.weight.numel()
            exponents = torch.linspace(-1.0, 1.0, channels)[torch.randperm(channels)]
            factors = torch.tensor(spread) ** exponents
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            mixing.weight.div_(factors.reshape(1, -1, 1, 1))
