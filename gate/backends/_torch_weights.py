"""What a weight is stored as: torch's own quantized tensors, torchao's, and plain ones."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from gate.core.layer import QParams
from gate.models.torchao_weights import AoWeight, ao_weight, inner_tensors, is_torchao

if TYPE_CHECKING:
    from torch import Tensor

STORED = {"quint8": "uint8", "qint8": "int8", "qint32": "int32"}
_SMALL = frozenset({"uint8", "int8", "int4", "uint4", "int3", "int2", "uint2"})
_GROUP, _ZEROS = 4, 2


def stored_dtype(tensor: Tensor) -> str:
    """NumPy-style name of the type that the elements are stored in."""
    held = ao_weight(tensor)
    if held is not None:
        return held.dtype
    name = str(tensor.dtype).removeprefix("torch.")
    return STORED.get(name, name)


def is_integer(tensor: Tensor) -> bool:
    """True for a tensor held in integers with scales."""
    return tensor.is_quantized or ao_weight(tensor) is not None


def is_small(tensor: Tensor) -> bool:
    """True for a tensor held in integers of 8 bits or less."""
    return is_integer(tensor) and stored_dtype(tensor) in _SMALL


def multiplied_as_integers(tensor: Tensor) -> bool:
    """True where a kernel takes the integers themselves, not what they stand for."""
    held = ao_weight(tensor)
    return tensor.is_quantized if held is None else held.integer_arithmetic


def element_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor as it lies in memory, with the parts of a torchao tensor."""
    if is_torchao(tensor):
        return sum(part.numel() * part.element_size() for part in inner_tensors(tensor).values())
    return tensor.numel() * tensor.element_size()


def qparams(tensor: Tensor) -> QParams:
    """Parameters of a tensor held in integers. A signed type with zero points of 0 is called
    symmetric."""
    import torch

    held = ao_weight(tensor)
    if held is not None:
        return _of_blocks(held, tuple(tensor.shape))
    by_channel = tensor.qscheme() in (
        torch.per_channel_affine,
        torch.per_channel_affine_float_qparams,
    )
    if by_channel:
        axis: int | None = tensor.q_per_channel_axis()
        scales = tuple(float(s) for s in tensor.q_per_channel_scales().tolist())
        zero_points = tuple(round(z) for z in tensor.q_per_channel_zero_points().tolist())
    else:
        axis, scales, zero_points = None, (tensor.q_scale(),), (tensor.q_zero_point(),)
    dtype = stored_dtype(tensor)
    symmetric = not dtype.startswith("u") and not any(zero_points)
    return QParams(
        dtype=dtype,
        scheme=f"per-{'channel' if by_channel else 'tensor'}-{'symmetric' if symmetric else 'affine'}",
        axis=axis,
        scales=scales,
        zero_points=zero_points,
        channels=tensor.shape[axis] if axis is not None else None,
    )


def groups_of_four(weight: Tensor, *, input_axis: int) -> tuple[int, int]:
    """Groups of four consecutive input channels, at each output channel and position, and those of
    them with two zeros or more: the 2:4 pattern of sparse kernels. (0, 0) where the input channels
    are no multiple of four."""
    if weight.dim() <= input_axis or weight.shape[input_axis] % _GROUP:
        return 0, 0
    values = weight.dequantize() if is_integer(weight) else weight.detach()
    zeros = (values.movedim(input_axis, -1).reshape(-1, _GROUP) == 0).sum(dim=1)
    return len(zeros), int((zeros >= _ZEROS).sum())


def _of_blocks(held: AoWeight, shape: tuple[int, ...]) -> QParams:
    """Of a scheme by block, as ``QParams`` says: of each channel the block with the largest scale."""
    import torch

    scales = held.scales.detach().float()
    zero_points = held.zero_points
    if zero_points is None:
        zero_points = torch.zeros_like(scales)
    axis: int | None = 0
    if held.block == shape:
        kind, axis = "tensor", None
    elif held.block == (1, *shape[1:]):
        kind = "channel"
    else:
        kind = f"block-{prod(held.block)}"
        largest = scales.reshape(shape[0], -1).argmax(dim=1, keepdim=True)
        scales = scales.reshape(shape[0], -1).gather(1, largest)
        zero_points = zero_points.reshape(shape[0], -1).gather(1, largest)
    symmetric = held.zero_points is None
    return QParams(
        dtype=held.dtype,
        scheme=f"per-{kind}-{'symmetric' if symmetric else 'affine'}",
        axis=axis,
        scales=tuple(float(scale) for scale in scales.reshape(-1).tolist()),
        zero_points=tuple(round(zero) for zero in zero_points.reshape(-1).tolist()),
        channels=None if axis is None else shape[axis],
    )
