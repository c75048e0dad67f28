"""A torch network compiled by Inductor, and which of its quantized layers became integer kernels.

Compiling happens in the first run on inputs of a shape and takes seconds to minutes; other processes find the compiled C++ in
Inductor's cache on disk. Freezing is on: weights become constants, which is what lets Inductor pack
int8 weights for oneDNN.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gate.core.layer import LayerRow

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHAPES = 64
_COUNTED = {
    "conv": "qconv_weight_prepack_matcher_count",
    "linear": "qlinear_weight_prepack_matcher_count",
}
"""Kind of layer -> Inductor's counter of the integer kernels that it made."""


def compiler_missing() -> str | None:
    """Why Inductor cannot compile for the CPU here; None where it can."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    if not any(name and shutil.which(name.split()[0]) for name in names):
        return "compile: true needs a C++ compiler: install g++ or clang++, or name one in CXX"
    return None


class Compiled:
    """Calls a network through ``torch.compile``."""

    def __init__(self, module: nn.Module) -> None:
        import torch
        from torch._dynamo import config as dynamo
        from torch._inductor import config as inductor

        # For the whole process: torch looks at it while it reads the network, before options of one
        # call hold. Helper processes would outlive the worker's limits.
        inductor.freezing, inductor.compile_threads = True, 1
        # Beyond the limit torch runs the network as it is, without a word.
        dynamo.recompile_limit, dynamo.fail_on_recompile_limit_hit = _SHAPES, True
        # For each shape anew: with a dynamic batch, integer convolutions of one channel give strides
        # (torch 2.13) that the code around them refuses.
        self._call = torch.compile(module, dynamic=False)
        self._kernels: Counter[str] = Counter()
        self._ran = False

    def __call__(self, *given: Tensor) -> Any:
        """Run; the first time, compile and count the integer kernels."""
        if self._ran:
            return self._call(*given)
        before = _counters()
        result = self._call(*given)
        after = _counters()
        self._kernels = Counter({kind: after[kind] - before[kind] for kind in _COUNTED})
        self._ran = True
        return result

    @property
    def ran(self) -> bool:
        """Whether it has been compiled."""
        return self._ran

    def told(self, rows: Sequence[LayerRow]) -> tuple[LayerRow, ...]:
        """Rows of the graph that was compiled, as the kernels are: Inductor tells how many integer
        kernels of a kind it made and not of which layers, so where it made too few of a kind no layer
        of that kind is said to be in integers."""
        wanted = Counter(_kind(row) for row in rows if row.computes and row.quantized)
        short = {kind for kind, number in wanted.items() if self._kernels[kind] < number}
        return tuple(
            replace(row, quantized=False)
            if row.computes and row.quantized and _kind(row) in short
            else row
            for row in rows
        )


def _kind(row: LayerRow) -> str:
    return next((kind for kind in _COUNTED if kind in row.op.lower()), "")


def _counters() -> Mapping[str, int]:
    from torch._dynamo.utils import counters

    found = counters["inductor"]
    return {kind: int(found[name]) for kind, name in _COUNTED.items()}
