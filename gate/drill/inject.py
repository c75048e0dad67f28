"""Where the injector of each fault is; nothing is imported until it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from gate.drill.catalogue import FAULTS

_MODULES: Mapping[str, str] = {
    "weights": "gate.drill.weights",
    "activations": "gate.drill.activations",
    "structure": "gate.drill.structure",
    "calibration": "gate.drill.calibration",
    "data": "gate.drill.data",
    "runtime": "gate.drill.runtime",
    "version": "gate.drill.version",
}

# Faults whose injector stands elsewhere than in the module of their family.
_ELSEWHERE: Mapping[str, str] = {
    name: f"gate.drill.geometry:{name}"
    for name in (
        "layout_at_flatten",
        "layout_at_input",
        "output_shape",
        "output_transposed",
        "padding_shifted",
        "padding_with_zero",
        "stride_changed",
    )
}

INJECTORS: Mapping[str, str] = {
    name: _ELSEWHERE.get(name, f"{_MODULES[fault.family]}:{name}") for name, fault in FAULTS.items()
}
"""Fault name -> ``module:function``; :mod:`gate.drill.base` says what the functions look like."""


@cache
def load(name: str) -> Any:
    """Return the injector of a fault.

    Raises:
        KeyError: no such fault.
    """
    module, _, attribute = INJECTORS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
