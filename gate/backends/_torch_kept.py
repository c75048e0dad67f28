"""Floating-point weights that a quantized torch module keeps: see :mod:`gate.backends.kept_float`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import constant_weight, is_boundary, is_dequantize
from gate.backends._torch_weights import is_integer
from gate.backends.kept_float import FloatTensor, StoredTensor, kept_float
from gate.core.layer import KeptFloat
from gate.core.tensors import Array
from gate.models.torch_packed import is_quantized_module, module_weights, unpack
from gate.models.torchao_weights import AoWeight, ao_weight, is_torchao

if TYPE_CHECKING:
    from torch import Tensor, nn


def kept(
    module: nn.Module, *, traceable: bool, reference: nn.Module | None
) -> tuple[KeptFloat, ...]:
    """Float tensors of two axes or more that ``module`` does not need.

    Args:
        module: what was opened, in eager or FX form, with torchao's tensors, or an exported program.
        traceable: whether a graph of it computes what it computes; else it cannot be told what nothing
            reads, and copies of stored weights alone are found.
        reference: the float network; what nothing reads there either, such as an auxiliary
            classifier, is none of quantization's doing.
    """
    found = {name: tensor for name, tensor in _held(module) if _is_weight(tensor)}
    idle = _unread(module, found) if traceable else set()
    if idle and reference is not None:
        theirs = {name: tensor for name, tensor in _held(reference) if _is_weight(tensor)}
        idle -= _unread(reference, theirs)
    floats = [_float(name, tensor, name in idle) for name, tensor in found.items()]
    return tuple(kept_float(floats, [*_packed(module), *_in_graph(module)]))


def _held(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers and tensors in plain attributes, each once, by their paths."""
    import torch

    seen: set[int] = set()
    for path, part in module.named_modules():
        # torch keeps parameters and buffers in two of the attributes.
        everything = {**vars(part), **part._parameters, **part._buffers}
        for name, value in everything.items():
            if isinstance(value, torch.Tensor) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}".lstrip("."), value


def _is_weight(tensor: Tensor) -> bool:
    return tensor.dim() > 1 and tensor.dtype.is_floating_point and not is_torchao(tensor)


def _unread(module: nn.Module, held: Mapping[str, Tensor]) -> set[str]:
    """Names of tensors that no call reads: neither the graph itself nor a module that it calls."""
    from torch import fx

    if isinstance(module, fx.GraphModule):
        nodes, known = list(module.graph.nodes), set(held)
    else:
        tracer = fx.Tracer()
        tracer.proxy_buffer_attributes = (
            True  # else what is made of them alone is worked out at once
        )
        try:
            nodes = list(tracer.trace(module).nodes)
        except Exception:  # noqa: BLE001 - the model's own code runs on stand-ins and may raise anything
            return set()
        registered = (*module.named_parameters(), *module.named_buffers())
        known = set(held) & {name for name, _ in registered}
    read = {str(node.target) for node in nodes if node.op == "get_attr" and node.users}
    called = tuple(f"{node.target}." for node in nodes if node.op == "call_module")
    return {name for name in known if name not in read and not name.startswith(called)}


def _float(name: str, tensor: Tensor, unread: bool) -> FloatTensor:
    def value() -> Array:
        array: Array = tensor.detach().float().contiguous().numpy()
        return array

    return FloatTensor(
        name=name,
        shape=tuple(tensor.shape),
        size_bytes=tensor.numel() * tensor.element_size(),
        value=value,
        unread=unread,
    )


def _packed(module: nn.Module) -> Iterator[StoredTensor]:
    """Weights of quantized modules, of functional integer operators, and of torchao."""
    import torch

    for path, part in module.named_modules():
        pairs = module_weights(part) if is_quantized_module(part) else []
        yield from (_stored(path, weight) for weight, _ in pairs if _comparable(weight))
        for name, value in vars(part).items():
            if not pairs and isinstance(value, torch.ScriptObject):
                weights = [weight for weight, _ in unpack(value) or []]
                where = f"{path}.{name}".lstrip(".")
                yield from (_stored(where, weight) for weight in weights if _comparable(weight))
    yield from (_stored(name, held) for name, held in _held(module) if _comparable(held))


def _in_graph(module: Any) -> Iterator[StoredTensor]:
    """Weights that the dequantize calls of an exported program read."""
    from torch.fx import GraphModule

    if not isinstance(module, GraphModule):
        return
    for node in module.graph.nodes:
        if is_boundary(node) and is_dequantize(node):
            weight = constant_weight(module, node)
            if weight is not None and _comparable(weight):
                yield _stored(str(node.args[0].target), weight)


def _comparable(tensor: Tensor) -> bool:
    return tensor.dim() > 1 and is_integer(tensor)


def _stored(name: str, tensor: Tensor) -> StoredTensor:
    def value() -> tuple[Array, Array]:
        held = ao_weight(tensor)
        real: Array = tensor.detach().dequantize().float().contiguous().numpy()
        return real, _own_step(tensor) if held is None else _step_of_blocks(held, real.shape)

    return StoredTensor(name=name, shape=tuple(tensor.shape), value=value)


def _own_step(tensor: Tensor) -> Array:
    """Step of one of torch's own quantized tensors, to broadcast against it."""
    import numpy as np
    import torch

    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return np.asarray(tensor.q_scale(), dtype=np.float32)
    shape = [1] * tensor.dim()
    shape[tensor.q_per_channel_axis()] = -1
    scales: Array = tensor.q_per_channel_scales().float().reshape(shape).numpy()
    return scales


def _step_of_blocks(held: AoWeight, shape: tuple[int, ...]) -> Array:
    """Step of each element of a torchao tensor."""
    import numpy as np

    blocks = [size // length for size, length in zip(shape, held.block, strict=True)]
    steps: Array = held.scales.detach().float().reshape(blocks).numpy()
    for axis, length in enumerate(held.block):
        steps = np.repeat(steps, length, axis=axis)
    return steps
