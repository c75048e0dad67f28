"""Entries that the end-to-end specs name; trusted by the projects that the tests make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from gate.core.spec import TargetSpec
from specs.models.digits import cnn

WEIGHTS = Path(__file__).resolve().parents[2] / "specs" / "weights" / "digits_cnn.safetensors"

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def static_with_sleep(
    model: nn.Module,
    calibration: Callable[[], Iterator[Mapping[str, npt.NDArray[np.float32]]]] | None,
    options: Mapping[str, Any],
    target: TargetSpec,
) -> nn.Module:
    """FX static int8 of the digits network that may wait before each forward pass."""
    example = torch.zeros(2, 1, 8, 8)
    mapping = get_default_qconfig_mapping(str(target.options["engine"]))
    prepared = prepare_fx(model.eval(), mapping, (example,))
    with torch.inference_mode():
        if calibration is None:
            prepared(example)
        else:
            for batch in calibration():
                prepared(torch.from_numpy(batch["image"]))
    quantized: nn.Module = convert_fx(prepared)
    seconds = float(options["sleep_seconds"])
    if seconds:
        quantized.register_forward_pre_hook(lambda *_: time.sleep(seconds))
    return quantized


def float_beside(
    model: nn.Module,
    calibration: Callable[[], Iterator[Mapping[str, npt.NDArray[np.float32]]]] | None,
    options: Mapping[str, Any],
    target: TargetSpec,
) -> nn.Module:
    """The same, with the float weights of the convolutions left in the state."""
    del options
    kept = [part.weight.detach().clone() for part in model.modules() if isinstance(part, nn.Conv2d)]
    quantized = static_with_sleep(model, calibration, {"sleep_seconds": 0.0}, target)
    for index, weight in enumerate(kept):
        quantized.register_buffer(f"kept_{index}", weight)
    return quantized


def never_trained(model: nn.Module, samples: object, options: Mapping[str, Any]) -> nn.Module:
    """A training loop with an early exit too many."""
    del samples, options
    return model


class UnderNoGrad(nn.Module):
    """The digits network, evaluated without gradients wherever it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.network = cnn()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.network(image)  # type: ignore[no-any-return]


def under_no_grad() -> nn.Module:
    """See :class:`UnderNoGrad`."""
    return UnderNoGrad().eval()


def imbalanced_cnn() -> nn.Module:
    """The digits network with one channel between the separable convolutions 60 times as large, which
    the weights after it undo: the same function, and bad to quantize there by tensor."""
    model = cnn()
    model.load_state_dict(load_file(WEIGHTS))
    block = model.get_submodule("separable")
    with torch.no_grad():
        for parameter in block.get_submodule("depthwise.bn").parameters():
            parameter[3] *= 60.0  # a ReLU follows, which keeps the factor
        block.get_parameter("pointwise.conv.weight")[:, 3] /= 60.0
    return model.eval()
