"""Entries that the end-to-end specs name; trusted by the projects that the tests make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from gate.core.spec import TargetSpec

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
