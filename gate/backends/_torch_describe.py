"""From a call of a torch model to a row of the layer table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gate.backends._torch_graph import base_name, operator_name
from gate.backends._torch_macs import is_computing, macs
from gate.backends._torch_weights import (
    element_bytes,
    groups_of_four,
    is_integer,
    is_small,
    multiplied_as_integers,
    qparams,
    stored_dtype,
)
from gate.core.layer import LayerRow, TensorInfo
from gate.models.torch_packed import is_quantized_module, module_weights, unpack
from gate.models.torchao_weights import is_torchao

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gate.backends._torch_observe import Call


def describe(call: Call, *, name: str, covers: tuple[str, ...], batch: int) -> LayerRow:
    """One row; ``batch`` is the number of samples that the call saw.

    A weight's quantization parameters are those of the layer's first weight (``weight_ih_l0`` of a
    recurrent layer). Batch-norm scales and other elementwise factors do not count as weights.
    """
    computes = is_computing(call)
    weights = weights_of(call) if computes or _looks_up(call) else []
    quantized_weights = [w for w in weights if is_integer(w)]
    output = qparams(call.output) if call.output.is_quantized else call.leaving
    groups = [groups_of_four(w, input_axis=_input_axis(call)) for w in weights] if computes else []
    return LayerRow(
        name=name,
        op=_op(call),
        computes=computes,
        quantized=_quantized(call, weights),
        inputs=_inputs(call),
        outputs=(tensor_info(call.output, output.dtype if output is not None else None),),
        weight=replace(qparams(quantized_weights[0]), output_axis=_output_axis(call))
        if quantized_weights
        else None,
        output=output,
        params=sum(weight.numel() for weight in weights),
        params_quantized=sum(w.numel() for w in weights if is_small(w)),
        params_half=sum(w.numel() for w in weights if _half(call, w)),
        macs=round(macs(call, weights) / batch) if computes else 0,
        groups_of_four=sum(every for every, _ in groups),
        groups_sparse=sum(sparse for _, sparse in groups),
        covers=covers,
        capture=call.name
        if call.output.dtype.is_floating_point or call.output.is_quantized
        else None,
    )


def weights_of(call: Call) -> list[Tensor]:
    """Weights of a call, without biases: float ones, or quantized ones unpacked."""
    import torch

    if call.module is not None:
        return _module_weights(call.module)
    found: list[Tensor] = []
    for constant in call.constants:
        if isinstance(constant, torch.ScriptObject):
            found += [weight for weight, _ in unpack(constant) or []]
        elif isinstance(constant, torch.Tensor) and constant.dim() > 1:
            found.append(constant)
    return found


def tensor_info(tensor: Tensor, stored: str | None = None) -> TensorInfo:
    """Shape and NumPy-style type, of storage where quantized; ``stored`` is the type where a call
    beside the layer quantizes the tensor."""
    return TensorInfo(shape=tuple(tensor.shape), dtype=stored or stored_dtype(tensor))


def packed_bytes(module: nn.Module) -> int:
    """Bytes of weights, biases and quantization parameters, as the kernels hold them.

    Integer weights take a byte an element, with a float32 scale and an int32 zero point a channel;
    everything else takes its own element size. Padding inside a kernel's blocks is not counted.
    """
    import torch

    pairs = module_weights(module) if is_quantized_module(module) else []
    # Packed weights stand alone in functional graphs; those of a module belong to its children too.
    below = () if pairs else module.children()
    if not pairs:
        packed = [v for v in vars(module).values() if isinstance(v, torch.ScriptObject)]
        pairs = [pair for value in packed for pair in unpack(value) or []]
    total = sum(packed_bytes(child) for child in below)
    for weight, bias in pairs:
        total += weight.numel() * weight.element_size()
        if weight.is_quantized:
            total += 8 * len(qparams(weight).scales)
        if bias is not None:
            total += bias.numel() * bias.element_size()
    if is_quantized_module(module) and isinstance(getattr(module, "scale", None), float):
        total += 8  # scale and zero point of the output
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return total + sum(element_bytes(tensor) for tensor in own)


def _quantized(call: Call, weights: list[Tensor]) -> bool:
    """Whether the arithmetic is in integers: weights and what enters; without weights, whether the
    data is."""
    entering = [kind is not None for kind in call.entering]
    if weights:
        integers = all(multiplied_as_integers(weight) for weight in weights)
        return integers and (not entering or all(entering))
    if any(entering):
        return all(entering) if is_computing(call) else call.leaving is not None
    return call.output.is_quantized or any(tensor.is_quantized for tensor in call.inputs)


def _inputs(call: Call) -> tuple[TensorInfo, ...]:
    entering = call.entering or (None,) * len(call.inputs)
    return tuple(tensor_info(*pair) for pair in zip(call.inputs, entering, strict=True))


def _module_weights(module: nn.Module) -> list[Tensor]:
    if is_quantized_module(module):
        return [weight for weight, _ in module_weights(module)]
    # A fused float module is a Sequential of the convolution and what follows it.
    return [
        parameter
        for name, parameter in module.named_parameters()
        if "weight" in name.rsplit(".", 1)[-1] and parameter.dim() > 1
    ]


def _half(call: Call, weight: Tensor) -> bool:
    """Whether a weight has 16 bits: its own, or those that its quantized module packs it in."""
    import torch

    halves = (torch.float16, torch.bfloat16)
    module = call.module
    if weight.dtype in halves or module is None or not is_quantized_module(module):
        return weight.dtype in halves
    packed = getattr(module, "_packed_params", None)
    return (getattr(module, "dtype", None) or getattr(packed, "dtype", None)) in halves


def _output_axis(call: Call) -> int | None:
    """Axis of the output channels in a layer's weight; None for what is neither."""
    op = _op(call)
    if "ConvTranspose" in op or "conv_transpose" in op:
        return 1
    return 0 if "Conv" in op or "Linear" in op or op in {"conv2d", "linear"} else None


def _input_axis(call: Call) -> int:
    """Axis of the input channels in a layer's weight."""
    return 0 if _output_axis(call) == 1 else 1


def _looks_up(call: Call) -> bool:
    if call.module is not None:
        return "Embedding" in type(call.module).__name__
    return base_name(call.function).startswith("embedding")


def _op(call: Call) -> str:
    if call.module is None:
        return operator_name(call.function)
    kind = type(call.module)
    if not is_quantized_module(call.module):
        held = getattr(call.module, "weight", None)
        return f"{kind.__name__}({type(held).__name__})" if is_torchao(held) else kind.__name__
    return f"Quantized{'Dynamic' if '.dynamic.' in kind.__module__ else ''}{kind.__name__}"


def as_float32(tensor: Tensor) -> Any:
    """A NumPy copy, dequantized where quantized; other floating-point types become float32."""
    import torch

    value = tensor.detach()
    if value.is_quantized:
        value = value.dequantize()
    if value.dtype.is_floating_point:
        value = value.to(torch.float32)
    # The copy outlives in-place layers that follow, and the buffer torch may use again.
    return value.contiguous().numpy().copy()
