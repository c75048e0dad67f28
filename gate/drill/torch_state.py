"""The places of a quantized torch state that faults go into.

A state holds quantized weights, float biases and, for layers with a stored result, its scale and
zero point. Tensors carry their own parameters in torch, so that a reader cannot disagree with a
writer: faults of that kind have no place here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.core.tensors import Array
from gate.drill.base import NotHere
from gate.drill.onnx_edit import Edit, Slot
from gate.drill.sites import Bias, Weight

_PACKED_KEY = "._packed_params._packed_params"
_CELL_KEY = "._all_weight_values"
_HIGHEST_CODE, _HIGHEST_REDUCED = 255, 127
OPTIONS = "options"
"""Key under which the quantizer's options stand beside the state, while it is being changed."""


@dataclass(frozen=True, slots=True)
class Entry(Slot):
    """One value of the state: ``codes``, ``scale`` or ``zero_point`` of a quantized tensor, or a
    plain tensor."""

    path: tuple[str | int, ...]
    part: str

    @property
    def name(self) -> str:
        """Where it stands."""
        return ".".join(map(str, self.path))


class StateEdit:
    """What ``torch.load`` gave of a candidate file, while it is being changed."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.state: dict[str, Any] = content["state"]
        self.added: list[str] = []
        reduced = content.get(OPTIONS, {}).get("reduce_range", False)
        self.highest_code = _HIGHEST_REDUCED if reduced else _HIGHEST_CODE
        """Of what calibration saw; kernels cut off at 255 all the same."""

    def need(self, slot: Slot) -> Array:
        """Value of an entry. Do not write into it."""
        entry = _entry(slot)
        tensor = _walk(self.state, entry.path)
        match entry.part:
            case "codes":
                return np.asarray(tensor.int_repr().numpy())
            case "scale":
                found = (
                    tensor.q_per_channel_scales().numpy()
                    if _by_channel(tensor)
                    else tensor.q_scale()
                )
            case "zero_point":
                found = (
                    tensor.q_per_channel_zero_points().numpy()
                    if _by_channel(tensor)
                    else tensor.q_zero_point()
                )
            case _:
                found = tensor.numpy()
        return np.asarray(found)

    def put(self, slot: Slot, value: Array) -> None:
        """Replace an entry; what it is quantized with stays, but for that entry."""
        import torch

        entry = _entry(slot)
        if entry.part == "value":
            tensor = torch.from_numpy(np.array(value, order="C"))
        else:
            parts = {
                name: value if name == entry.part else self.need(Entry(None, 0, entry.path, name))
                for name in ("codes", "scale", "zero_point")
            }
            tensor = _quantized(_walk(self.state, entry.path), parts)
        self.state = _with(self.state, entry.path, tensor)
        self.content["state"] = self.state

    def leave_behind(self, values: Sequence[Array]) -> None:
        """Put tensors into the file that nothing reads."""
        import torch

        self.content["left_behind"] = [torch.from_numpy(np.array(v, order="C")) for v in values]

    def finish(self) -> None:
        """Nothing is left to put in order."""


def _entry(slot: Slot) -> Entry:
    assert isinstance(slot, Entry)  # noqa: S101 - sites of a state hold entries of it
    return slot


def state_weights(edit: StateEdit) -> list[Weight]:
    """All quantized weights, in the order of the state."""
    found = []
    for key, value in edit.state.items():
        if _is_quantized(value) and key.endswith(".weight"):
            layer = key.removesuffix(".weight")
            bias = (f"{layer}.bias",) if edit.state.get(f"{layer}.bias") is not None else None
            found.append(_weight(edit, layer, (key,), bias))
        elif key.endswith(_PACKED_KEY):
            found += _packed(edit, key.removesuffix(_PACKED_KEY), (key,), value)
        elif isinstance(value, Mapping) and _CELL_KEY in key:
            layer = key.partition(_CELL_KEY)[0]
            for index, part in enumerate(value["parts"]):
                if isinstance(part, Mapping):
                    found += _packed(edit, layer, (key, "parts", index, "parts"), part["parts"])
    return found


def _packed(edit: StateEdit, layer: str, path: tuple[str | int, ...], pair: Any) -> list[Weight]:
    if not isinstance(pair, tuple | list) or not _is_quantized(pair[0]):
        return []
    return [_weight(edit, layer, (*path, 0), (*path, 1) if pair[1] is not None else None)]


def _weight(
    edit: StateEdit, layer: str, path: tuple[str | int, ...], bias: tuple[str | int, ...] | None
) -> Weight:
    rank = _walk(edit.state, path).ndim
    return Weight(
        layer=layer,
        node=None,
        op="Conv" if rank > 2 else ("LSTM" if _CELL_KEY in str(path[0]) else "Gemm"),
        form="torch",
        codes=Entry(None, 0, path, "codes"),
        scale=Entry(None, 0, path, "scale"),
        zero_point=Entry(None, 0, path, "zero_point"),
        channel_axis=0,
        input_axis=1,
        bias=None if bias is None else Bias(values=Entry(None, 0, bias, "value")),
    )


@dataclass(frozen=True, slots=True)
class StateOutput:
    """Scale and zero point of a layer's stored result."""

    layer: str
    scale: Entry
    zero_point: Entry

    def real_range(self, edit: StateEdit) -> tuple[float, float]:
        """Smallest and largest real value that calibration saw."""
        scale, zero = float(edit.need(self.scale)), int(edit.need(self.zero_point))
        return -zero * scale, (edit.highest_code - zero) * scale

    def put_range(self, edit: StateEdit, low: float, high: float) -> None:
        """Store another range, in all 8 bits: what lies beyond is cut off."""
        scale = (high - low) / _HIGHEST_CODE
        edit.put(self.scale, np.array(scale, edit.need(self.scale).dtype))
        edit.put(self.zero_point, np.array(round(-low / scale), edit.need(self.zero_point).dtype))


def state_outputs(edit: StateEdit) -> list[StateOutput]:
    """Layers whose result is stored; those of dynamic quantization hold idle parameters."""
    found = []
    for key in edit.state:
        layer = key.removesuffix(".scale")
        if layer == key or f"{layer}.zero_point" not in edit.state:
            continue
        scale, zero = (
            Entry(None, 0, (f"{layer}.{part}",), "value") for part in ("scale", "zero_point")
        )
        if float(edit.need(scale)) != 1.0 or int(edit.need(zero)) != 0:
            found.append(StateOutput(layer, scale, zero))
    return found


def state_step(edit: StateEdit | Edit, layer: str) -> float:
    """Step of a layer's stored result.

    Raises:
        NotHere: it is not stored.
    """
    outputs = state_outputs(edit) if isinstance(edit, StateEdit) else []
    one = next((output for output in outputs if output.layer == layer), None)
    if one is None:
        raise NotHere("its output is not stored in integers")
    return float(edit.need(one.scale))


def _is_quantized(value: Any) -> bool:
    return bool(getattr(value, "is_quantized", False))


def _by_channel(tensor: Any) -> bool:
    import torch

    return tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)


def _quantized(like: Any, parts: Mapping[str, Array]) -> Any:
    import torch

    codes = torch.from_numpy(np.array(parts["codes"], order="C"))
    if not _by_channel(like):
        scale, zero = (float(parts[name].reshape(-1)[0]) for name in ("scale", "zero_point"))
        return torch._make_per_tensor_quantized_tensor(codes, scale, int(zero))
    scales = torch.from_numpy(np.array(parts["scale"], np.float64))
    zeros = torch.from_numpy(np.array(parts["zero_point"], np.int64))
    return torch._make_per_channel_quantized_tensor(codes, scales, zeros, like.q_per_channel_axis())


def _walk(container: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        container = container[step]
    return container


def _with(container: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of nested containers with another value at ``path``."""
    if not path:
        return value
    inner = _with(container[path[0]], path[1:], value)
    if isinstance(container, Mapping):
        return {**container, path[0]: inner}
    items = list(container)
    items[int(path[0])] = inner
    return type(container)(items)
