"""A training loop of one's own for `method: torch-qat`; named by `entry:` in specs/systems/digits_qat.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import disable_observer


def finetune(
    model: nn.Module,
    samples: Callable[[int], Iterator[tuple[tuple[Tensor, ...], Tensor]]],
    options: Mapping[str, Any],
) -> nn.Module:
    """Label smoothing, clipped gradients, ranges frozen for the last epoch; conversion is the gate's."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=options["rate"])
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(options["epochs"]):
        if epoch == options["epochs"] - 1:
            model.apply(disable_observer)
        for inputs, labels in samples(50):
            loss = loss_of(model(*inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model
