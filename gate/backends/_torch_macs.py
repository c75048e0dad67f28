"""Multiply-accumulates of torch calls, and which calls have any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gate.backends._torch_graph import base_name

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gate.backends._torch_observe import Call

_PRODUCTS = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm", "einsum"})
_FUNCTIONS = ("conv", "linear", "scaled_dot_product_attention", "lstm", "gru", "bilinear")


def is_computing(call: Call) -> bool:
    """True for convolutions, matrix products and recurrent layers, float or quantized."""
    if call.module is not None:
        return _kind(call.module) != ""
    name = base_name(call.function)
    return name in _PRODUCTS or name.startswith(_FUNCTIONS)


def macs(call: Call, weights: Sequence[Tensor]) -> float:
    """Multiply-accumulates of one call over its whole batch.

    Convolution: weight elements times output positions (input positions where transposed). Linear:
    weight elements times rows. Recurrent: all weight elements times steps. Attention: its projections
    and the two products with the keys. Product of (.., m, k) and (.., k, n): output elements times k.
    """
    if call.module is None:
        return _function_macs(call, weights)
    size = sum(weight.numel() for weight in weights)
    kind = _kind(call.module)
    if kind == "conv":
        return _convolution(call, weights[0], transposed="Transpose" in type(call.module).__name__)
    if kind == "linear":
        return size * call.output.numel() / weights[0].shape[0]
    sequence = call.inputs[0]
    steps = sequence.numel() / sequence.shape[-1]
    if kind == "attention":
        keys = call.inputs[1] if len(call.inputs) > 1 else sequence
        length = keys.numel() / keys.shape[-1] / _batch_of(call.module, keys)
        return steps * size + 2 * steps * length * sequence.shape[-1]
    return steps * size


def _function_macs(call: Call, weights: Sequence[Tensor]) -> float:
    name = base_name(call.function)
    # Weights may come out of other calls (a parametrised layer) instead of being constants.
    weight = weights[0] if weights else call.inputs[1] if len(call.inputs) > 1 else None
    if weight is None:
        return 0.0
    if name.startswith("conv"):
        return _convolution(call, weight, transposed="transpose" in name)
    if name.startswith(("linear", "bilinear")):
        return weight.numel() * call.output.numel() / weight.shape[0]
    if name.startswith(("lstm", "gru")):
        steps = call.inputs[0].numel() / call.inputs[0].shape[-1]
        return steps * sum(w.numel() for w in weights)
    if name == "scaled_dot_product_attention":
        return 2.0 * call.inputs[0].numel() * call.inputs[1].shape[-2]
    operands = call.inputs if len(call.inputs) > 1 else (*call.inputs, *weights)
    left = operands[1] if name in ("addmm", "baddbmm") and len(operands) > 2 else operands[0]
    return float(call.output.numel() * left.shape[-1])


def _convolution(call: Call, weight: Tensor, *, transposed: bool) -> float:
    tensor = call.inputs[0] if transposed else call.output
    # Both layouts of the weight put the channels of the counted tensor first.
    return weight.numel() * tensor.numel() / weight.shape[0]


def _batch_of(module: nn.Module, keys: Tensor) -> int:
    return int(keys.shape[0 if getattr(module, "batch_first", False) else 1])


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    if name.startswith(("Conv", "LazyConv")):
        return "conv"
    if name.startswith(("Linear", "LazyLinear", "NonDynamicallyQuantizableLinear", "Bilinear")):
        return "linear"
    if name.startswith(("LSTM", "GRU", "RNN")):
        return "recurrent"
    return "attention" if name == "MultiheadAttention" else ""
