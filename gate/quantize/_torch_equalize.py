"""Cross-layer equalisation: the same function, with like ranges of the channels of a layer.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.1: where only functions with f(s x) = s f(x) stand between two layers, a channel can be divided
by s after the first and multiplied by s in the second; s = sqrt(r1 / r2) makes both ranges sqrt(r1 r2).

torch's own ``_equalize`` takes neither depthwise convolutions, for which the method was made, nor batch
norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
"""f(s x) = s f(x) for s > 0, channel by channel."""
_HOMOGENEOUS_CALLS = frozenset(
    {"relu", "relu_", "leaky_relu", "dropout", "max_pool2d", "avg_pool2d"}
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ROUNDS = 40
_SMALL_CHANGE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A convolution or linear layer and the batch norm after it."""

    path: str
    part: Any
    norm: Any


def equalise(module: nn.Module, *, leave: Sequence[str]) -> int:
    """Equalise every pair of neighbouring layers of ``module`` in place, until nothing changes.

    Batch norm is first folded into the weights before it; it stays, with nothing left but the bias.
    ReLU6 and other activations that are not homogeneous end a pair.

    Args:
        module: the float network in evaluation mode.
        leave: paths of modules that are not touched, with all below them.

    Returns:
        Number of pairs.

    Raises:
        QuantizeError: the model cannot be traced, or has no such pair.
    """
    graph = _traced(module)
    pairs = [
        (one, two)
        for one, two in _pairs(graph)
        if not any(_below(layer.path, path) for layer in (one, two) for path in leave)
    ]
    if not pairs:
        raise QuantizeError(
            "correct: cross-layer-equalization: no two layers follow one another with nothing but ReLU, "
            "pooling or batch norm between them (ReLU6, hard-swish and sums end a pair)"
        )
    with torch.no_grad():
        for layer in {layer.path: layer for pair in pairs for layer in pair}.values():
            _fold(layer)
        for _ in range(_ROUNDS):
            changes = [_equalise_pair(*pair) for pair in pairs]
            if max(changes) < _SMALL_CHANGE:
                break
    return len(pairs)


def _traced(module: nn.Module) -> GraphModule:
    from torch import fx

    try:
        return fx.GraphModule(module, fx.Tracer().trace(module))
    except Exception as error:  # tracing runs the model's code, which may raise anything
        raise QuantizeError(
            f"correct: cross-layer-equalization: the model cannot be traced ({error})"
        ) from error


def _pairs(graph: GraphModule) -> Iterator[tuple[_Layer, _Layer]]:
    calls = [node for node in graph.graph.nodes if node.op == "call_module"]
    targets = [node.target for node in calls]
    for node in calls:
        if targets.count(node.target) > 1 or not _is_layer(_part(graph, node)):
            continue
        norm = None
        following = _only_user(node)
        if following is not None and isinstance(_part(graph, following), _NORMS):
            norm = _part(graph, following)
            following = _only_user(following)
        while following is not None and _is_homogeneous(graph, following):
            following = _only_user(following)
        if following is None or targets.count(following.target) != 1:
            continue
        second = _part(graph, following)
        first = _Layer(path=str(node.target), part=_part(graph, node), norm=norm)
        if _is_layer(second) and _fits(first.part, second):
            after = _only_user(following)
            its = _part(graph, after) if after is not None else None
            yield (
                first,
                _Layer(
                    path=str(following.target),
                    part=second,
                    norm=its if isinstance(its, _NORMS) else None,
                ),
            )


def _part(graph: GraphModule, node: Node) -> Any:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: Node) -> Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_layer(part: Any) -> bool:
    return type(part) in (*_CONVOLUTIONS, nn.Linear)


def _is_homogeneous(graph: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(_part(graph, node), _HOMOGENEOUS)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name in _HOMOGENEOUS_CALLS


def _fits(first: Any, second: Any) -> bool:
    """Whether the channels that the first makes are those that the second scales one by one."""
    made = first.weight.shape[0]
    if isinstance(second, nn.Linear):
        return isinstance(first, nn.Linear) and made == second.in_features
    if isinstance(first, nn.Linear):
        return False
    return made == second.in_channels and second.groups in (1, second.in_channels)


def _below(path: str, kept: str) -> bool:
    return path == kept or path.startswith(f"{kept}.")


def _fold(layer: _Layer) -> None:
    norm = layer.norm
    if norm is None:
        return
    if norm.running_var is None or not norm.affine:
        raise QuantizeError(
            f"correct: cross-layer-equalization: the batch norm after '{layer.path}' has no running "
            "statistics or no scale"
        )
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    layer.part.weight.mul_(_along(factor, layer.part.weight, 0))
    bias = norm.bias - norm.running_mean * factor
    if layer.part.bias is not None:
        bias = bias + layer.part.bias * factor
        layer.part.bias.zero_()
    norm.bias.copy_(bias)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)  # so that scale / sqrt(var + eps) is 1


def _equalise_pair(first: _Layer, second: _Layer) -> float:
    """Scale one pair; gives the largest change, as |log s|."""
    depthwise = getattr(second.part, "groups", 1) > 1
    axis = 0 if depthwise else 1
    ranges_1 = _ranges(first.part.weight, 0)
    ranges_2 = _ranges(second.part.weight, axis)
    if depthwise:
        # A channel of the input makes one or several of the output.
        ranges_2 = ranges_2.reshape(len(ranges_1), -1).amax(dim=1)
    usable = (ranges_1 > 0) & (ranges_2 > 0)
    scales = torch.where(usable, torch.sqrt(ranges_1 / ranges_2), torch.ones_like(ranges_1))
    first.part.weight.div_(_along(scales, first.part.weight, 0))
    for bias in (first.part.bias, first.norm.bias if first.norm is not None else None):
        if bias is not None:
            bias.div_(scales)
    repeated = scales.repeat_interleave(second.part.weight.shape[axis] // len(scales))
    second.part.weight.mul_(_along(repeated, second.part.weight, axis))
    return float(scales.log().abs().max())


def _ranges(weight: Tensor, axis: int) -> Tensor:
    """Largest magnitude by the channels of one axis."""
    return weight.transpose(0, axis).flatten(1).abs().amax(dim=1)


def _along(values: Tensor, like: Tensor, axis: int) -> Tensor:
    shape = [1] * like.dim()
    shape[axis] = -1
    return values.reshape(shape)
