"""Networks of torchvision at a fraction of their width, and a small one: what stand-ins are.

The architecture is the named one (its blocks, depth, activations and residual connections); only channel
counts are divided, so that weights that were trained here fit into the repository. MobileNets need no
function: torchvision's own builders take ``width_mult``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from gate.models.torchvision_compat import import_torchvision

import_torchvision()

from torchvision.models._utils import IntermediateLayerGetter  # noqa: E402 - after the import above
from torchvision.models.efficientnet import EfficientNet, MBConvConfig  # noqa: E402
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet  # noqa: E402
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabV3  # noqa: E402

FULL_WIDTH = 64
"""Channels after the first convolution of a ResNet."""

# Expansion, kernel, stride, input and output channels, repetitions: EfficientNet-B0 as published.
_B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


class ReducedResNet(ResNet):
    """A ResNet whose first convolution has ``width`` channels in place of 64, and so on in proportion."""

    def __init__(
        self, block: type[nn.Module], layers: list[int], *, width: int, classes: int, **kwargs: Any
    ) -> None:
        self._width = width
        super().__init__(block, layers, **kwargs)
        self.fc = nn.Linear(8 * width * block.expansion, classes)

    def _make_layer(self, block: type[nn.Module], planes: int, *args: Any, **kwargs: Any) -> Any:
        if planes == FULL_WIDTH:  # the first stage: what comes before it is there already
            self.inplanes = self._width
            self.conv1 = nn.Conv2d(3, self._width, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(self._width)
        return super()._make_layer(block, planes * self._width // FULL_WIDTH, *args, **kwargs)


def resnet18(width: int = 12, classes: int = 10) -> nn.Module:
    """ResNet-18. Input (N, 3, H, W), output (N, classes)."""
    return ReducedResNet(BasicBlock, [2, 2, 2, 2], width=width, classes=classes)


def resnet50(width: int = 8, classes: int = 10) -> nn.Module:
    """ResNet-50. Input (N, 3, H, W), output (N, classes)."""
    return ReducedResNet(Bottleneck, [3, 4, 6, 3], width=width, classes=classes)


def efficientnet_b0(width: float = 0.25, classes: int = 10) -> nn.Module:
    """EfficientNet-B0. Input (N, 3, H, W), output (N, classes).

    Narrow as it is, it needs none of the noise that regularises the wide one in training.
    """
    blocks = [MBConvConfig(*row, width_mult=width, depth_mult=1.0) for row in _B0]
    return EfficientNet(blocks, dropout=0.0, stochastic_depth_prob=0.0, num_classes=classes)


def deeplabv3_resnet101(width: int = 6, classes: int = 2, head: int = 24) -> nn.Module:
    """DeepLabV3 on a ResNet-101 with an output stride of 8. Input (N, 3, H, W), output ``out`` of shape
    (N, classes, H, W).

    The atrous rates are in proportion to the size of the images, as in the original.
    """
    body = ReducedResNet(
        Bottleneck,
        [3, 4, 23, 3],
        width=width,
        classes=1,
        replace_stride_with_dilation=[False, True, True],
    )
    channels = 8 * width * Bottleneck.expansion
    classifier = nn.Sequential(
        ASPP(channels, (1, 2, 3), out_channels=head),
        nn.Conv2d(head, head, 3, padding=1, bias=False),
        nn.BatchNorm2d(head),
        nn.ReLU(),
        nn.Conv2d(head, classes, 1),
    )
    return DeepLabV3(IntermediateLayerGetter(body, {"layer4": "out"}), classifier)


def small_convnet(classes: int = 10) -> nn.Module:
    """One convolution, ReLU, pooling and one linear layer. Input (N, 3, 32, 32), output (N, classes)."""
    return SmallConvNet(classes)


class SmallConvNet(nn.Sequential):
    """43 000 parameters."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(3, 64, 3, padding=1),
                relu=nn.ReLU(),
                pool=nn.MaxPool2d(4),
                flatten=nn.Flatten(),
                classes=nn.Linear(64 * 8 * 8, classes),
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        return super().forward(image)
