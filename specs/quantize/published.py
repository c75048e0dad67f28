"""Recipes as articles print them, line by line, for the specs of ``specs/claims/``. Most do not work.

Nothing here is to be copied: what each does wrong is the point, and what works is beside it in the spec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.ao import quantization as ao

if TYPE_CHECKING:
    from gate.core.spec import TargetSpec


def convert_in_every_epoch(
    model: nn.Module,
    samples: Callable[[int], Iterable[tuple[tuple[Tensor, ...], Any]]],
    options: Mapping[str, Any],
) -> nn.Module:
    """A training loop for ``torch-qat`` that calls ``convert`` inside the epoch loop."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(options["epochs"]):
        model.train()
        for inputs, _labels in samples(8):
            optimizer.zero_grad()
            model(*inputs).square().mean().backward()
            optimizer.step()
        model = ao.convert(model.eval(), inplace=False)
    return model


def static_without_stubs(
    model: nn.Module,
    calibration: Callable[[], Iterable[Mapping[str, Any]]] | None,
    options: Mapping[str, Any],  # noqa: ARG001 - none are printed
    target: TargetSpec,  # noqa: ARG001 - as above
) -> nn.Module:
    """The default qconfig, prepare, calibrate, convert; no QuantStub around the model."""
    model.eval()
    model.qconfig = ao.get_default_qconfig("fbgemm")
    prepared = ao.prepare(model, inplace=False)
    for batch in calibration() if calibration is not None else ():
        prepared(*(torch.from_numpy(values) for values in batch.values()))
    return ao.convert(prepared, inplace=False)


class Stubbed(nn.Module):
    """QuantStub, the convolution, DeQuantStub."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.quant, self.conv, self.dequant = ao.QuantStub(), conv, ao.DeQuantStub()

    def forward(self, image: Tensor) -> Tensor:
        """As printed."""
        return self.dequant(self.conv(self.quant(image)))


def static_with_stubs(
    model: nn.Module,
    calibration: Any,  # noqa: ARG001 - noise is printed
    options: Mapping[str, Any],  # noqa: ARG001 - none are printed
    target: TargetSpec,  # noqa: ARG001 - as above
) -> nn.Module:
    """Stubs around one convolution, the qconfig of fbgemm, ten batches of noise to calibrate with."""
    stubbed = Stubbed(model.conv).eval()
    stubbed.qconfig = ao.get_default_qconfig("fbgemm")
    prepared = ao.prepare(stubbed)
    for _ in range(10):
        prepared(torch.randn(1, 3, 224, 224))
    return ao.convert(prepared)


def dynamic_qconfig(
    model: nn.Module,
    calibration: Any,  # noqa: ARG001 - none is printed
    options: Mapping[str, Any],  # noqa: ARG001 - as above
    target: TargetSpec,  # noqa: ARG001 - as above
) -> nn.Module:
    """``QConfigDynamic`` with a FloatFunctional for an observer and a type for a weight."""
    model.qconfig = ao.QConfigDynamic(
        activation_post_process=nn.quantized.FloatFunctional, weight_dtype=torch.qint8
    )
    return ao.convert(ao.prepare_qat(model.train()).eval())


def mixed_then_dynamic(
    model: nn.Module,
    calibration: Any,  # noqa: ARG001 - none is printed
    options: Mapping[str, Any],  # noqa: ARG001 - as above
    target: TargetSpec,  # noqa: ARG001 - as above
) -> nn.Module:
    """A qconfig on each convolution and linear layer but the first and the last, then ``quantize_dynamic``."""
    layers = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for part in layers[1:-1]:
        part.qconfig = ao.default_dynamic_qconfig
    return ao.quantize_dynamic(model.eval(), {nn.Conv2d, nn.Linear}, dtype=torch.qint8)


class PrintedLearnedScale(nn.Module):
    """A convolution replaced by a matrix product with a weight of scale ``Parameter(1.0)``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: Tensor) -> Tensor:
        """As printed."""
        rounded = torch.quantize_per_tensor(
            self.weight, scale=self.scale.item(), zero_point=0, dtype=torch.qint8
        )
        return torch.matmul(image, rounded.dequantize())


def learned_scale_of_one(
    model: nn.Module,
    calibration: Any,  # noqa: ARG001 - none is printed
    options: Mapping[str, Any],  # noqa: ARG001 - as above
    target: TargetSpec,  # noqa: ARG001 - as above
) -> nn.Module:
    """Every convolution replaced as printed."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Conv2d):
                setattr(parent, name, PrintedLearnedScale(part))
    return model
