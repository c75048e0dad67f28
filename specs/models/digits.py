"""Two small networks for the 8 x 8 handwritten digits: a convolutional and a recurrent one."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

CLASSES = 10


def cnn() -> nn.Module:
    """Convolutional network with what quantizers are tried by: fused conv-bn-relu, a residual
    addition, a depthwise-separable block and a linear head. Input (N, 1, 8, 8), output (N, 10)."""
    return DigitsCnn()


def cnn_modules() -> nn.Module:
    """The same network and the same weights, its addition as a module: torch's eager quantization sees
    modules only."""
    model = DigitsCnn()
    model.residual = ResidualOfModules(16)
    return model


def lstm() -> nn.Module:
    """An LSTM that reads an image row by row. Input (N, 8, 8), output (N, 10)."""
    return DigitsLstm()


class DigitsCnn(nn.Module):
    """About 45 000 parameters; the linear head has two thirds of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_relu(1, 16)
        self.residual = Residual(16)
        self.down = conv_bn_relu(16, 32, stride=2)
        self.separable = nn.Sequential(
            OrderedDict(
                depthwise=conv_bn_relu(32, 32, groups=32),
                pointwise=conv_bn_relu(32, 64, kernel=1),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=nn.Linear(64 * 4 * 4, 32),
                relu=nn.ReLU(),
                classes=nn.Linear(32, CLASSES),
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        features = self.residual(self.stem(image))
        return self.head(self.separable(self.down(features)))


class Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(self.first(x))) + x)


class ResidualOfModules(Residual):
    """The same with a module that adds."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.sum = nn.quantized.FloatFunctional()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.sum.add(self.bn(self.conv(self.first(x))), x))


class DigitsLstm(nn.Module):
    """About 20 000 parameters, nearly all in the recurrent cell."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size=8, hidden_size=hidden, batch_first=True)
        self.classes = nn.Linear(hidden, CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        states, _ = self.lstm(rows)
        return self.classes(states[:, -1])


def conv_bn_relu(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm and ReLU, named so that layer tables read well."""
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs), relu=nn.ReLU()))
