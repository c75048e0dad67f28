"""Lets a torchvision of another build than torch be imported.

torchvision comes from the ordinary registry built against the CUDA torch. Beside a CPU torch its
extension library does not load, and ``import torchvision`` then fails with ``operator
torchvision::nms does not exist``, because a Python file registers a fake kernel for an operator that
only that library defines. Model definitions, transforms and weights need none of its operators, so
defining the two schemas is enough; calling ``torchvision.ops.nms`` still raises a clear error.
"""

from __future__ import annotations

import sys
from typing import Any

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_keep: list[Any] = []
"""Libraries live as long as someone holds them."""


def import_torchvision() -> Any:
    """Import torchvision, with its missing operator schemas defined where its library cannot load.

    Raises:
        ImportError: torchvision is not installed, or fails for another reason.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise ImportError(f"torchvision cannot be imported: {error}") from error
        _forget_half_import()
        _define_schemas()
        import torchvision
    return torchvision


def _forget_half_import() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]


def _define_schemas() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            library.define(operator + _SCHEMA)
    _keep.append(library)
