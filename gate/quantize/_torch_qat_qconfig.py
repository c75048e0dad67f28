"""Options of ``torch-qat`` to torch's configurations of fake-quantizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.quantize._torch_qconfig import over_defaults

if TYPE_CHECKING:
    from torch import nn

INT8 = (-128, 127)


def qat_mapping(options: Mapping[str, JsonValue], kept: Sequence[str]) -> Any:
    """torch's default ``QConfigMapping`` for training, for an engine, with the chosen fake-quantizers
    in the place of its own; the modules ``kept`` get none."""
    from torch.ao.quantization import get_default_qat_qconfig, get_default_qat_qconfig_mapping

    engine = options["engine"]
    mapping = get_default_qat_qconfig_mapping(engine)
    return over_defaults(mapping, get_default_qat_qconfig(engine), qat_qconfig(options), kept)


def qat_qconfig(options: Mapping[str, JsonValue]) -> Any:
    """Moving averages of the range of an activation, and the range that a weight has in each step.

    torch's own default lets the range of a weight lag behind too, by a hundred steps; in a short
    training with steps that matter, weights then grow out of their range and lose their gradient.
    """
    import torch
    from torch.ao.quantization import (
        FusedMovingAvgObsFakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
        QConfig,
    )

    symmetric = options["activations"] == "quint8/symmetric"
    activation = FusedMovingAvgObsFakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=255,
        dtype=torch.quint8,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        reduce_range=options["reduce_range"],
        averaging_constant=options["averaging"],
    )
    if options["weights"] == "int8/per-channel":
        observer: Any = MovingAveragePerChannelMinMaxObserver
        scheme = torch.per_channel_symmetric
    else:
        observer, scheme = MovingAverageMinMaxObserver, torch.per_tensor_symmetric
    weight = FusedMovingAvgObsFakeQuantize.with_args(
        observer=observer,
        quant_min=INT8[0],
        quant_max=INT8[1],
        dtype=torch.qint8,
        qscheme=scheme,
        averaging_constant=1.0,
    )
    return QConfig(activation=activation, weight=weight)


def learn_scales(module: nn.Module) -> int:
    """Put a fake-quantizer with a learned scale in the place of each weight's own; the scales are taken
    over from it, so it must have seen its weight. Gives how many there are.

    Learned step sizes (Esser et al. 2020, Learned Step Size Quantization), by torch's own kernels and
    with the paper's scaling of their gradient by 1 / sqrt(N Q). The first scales are those of the range:
    the paper's, 2 mean|w| / sqrt(Q), are made for few bits and are far too wide at eight.
    """
    import torch
    from torch.ao.quantization import PerChannelMinMaxObserver
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize
    from torch.ao.quantization.observer import MinMaxObserver

    changed = 0
    for part in module.modules():
        before: Any = getattr(part, "weight_fake_quant", None)
        if before is None or isinstance(before, _LearnableFakeQuantize):
            continue
        scales = before.scale.detach().flatten().to(torch.float32)
        by_channel = before.is_per_channel
        observer: Any = PerChannelMinMaxObserver if by_channel else MinMaxObserver
        after = _LearnableFakeQuantize(
            observer=observer,
            quant_min=INT8[0],
            quant_max=INT8[1],
            channel_len=len(scales) if by_channel else -1,
            use_grad_scaling=True,
            dtype=before.dtype,
            qscheme=before.qscheme,
        )
        after.enable_param_learning()
        after.scale.data.copy_(scales)
        after.zero_point.requires_grad = False  # symmetric: it stays 0
        part.weight_fake_quant = after
        changed += 1
    return changed


def learned_scales(module: nn.Module) -> dict[str, Any]:
    """Path -> the learned scale of each weight."""
    from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize

    return {
        name: part.scale
        for name, part in module.named_modules()
        if isinstance(part, _LearnableFakeQuantize)
    }
