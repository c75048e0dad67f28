"""State of quantized torch modules in files that ``torch.load(weights_only=True)`` reads.

``state_dict`` of a quantized module holds quantized tensors, which are safe to load, but also packed
parameters (of recurrent cells and of functional operators), which are C++ objects and are not.
Those are written as the tensors they were packed from and packed again when loading, by the engine
that is set then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.models.torch_packed import CELL, LINEAR, packed_kind, unpack_linear
from gate.models.torch_runtime import quiet_torch_ao
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn

STATE_FILE = "model.pt"
STATE_VERSION = 1
_KEYS = {"version", "state", "metadata"}
_PACKED = "packed"
_CONVOLUTIONS = {"Conv2dPackedParamsBase": "conv2d", "Conv3dPackedParamsBase": "conv3d"}
"""Kind of packed parameters -> operator; of functional calls, modules hold their weights as tensors."""
_CELL_TAGS = ("quantized_dynamic", "quantized_fp16")


def save_state(module: nn.Module, path: Path) -> None:
    """Write the state of ``module``; the same state gives the same bytes.

    Raises:
        QuantizeError: the module holds packed parameters of a kind that cannot be written.
    """
    import torch

    original = module.state_dict()
    state = {name: _plain(name, value) for name, value in original.items()}
    for name, (weight, bias) in _fp16_linears(state):
        state[name] = (weight.to(torch.float16), bias)  # exact: packing rounded it to float16
    # Modules read older layouts of their state by the versions in the metadata.
    metadata = {name: dict(entry) for name, entry in getattr(original, "_metadata", {}).items()}
    torch.save({"version": STATE_VERSION, "state": state, "metadata": metadata}, path)


def load_state(module: nn.Module, path: Path) -> None:
    """Put a written state into a module of the same structure, strictly.

    Raises:
        QuantizeError: the file is damaged, of another structure or of another version.
    """
    import torch

    content = read_state(path)
    state: Any = OrderedDict((name, _packed(value)) for name, value in content["state"].items())
    state._metadata = content["metadata"]
    for name, (weight, bias) in _fp16_linears(state):
        state[name] = (weight.to(torch.float32), bias)
    check_names(module.state_dict(), state, path)
    _set_graph_weights(module, state)
    try:
        module.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise QuantizeError(f"{path}: does not fit the model: {error}") from error
    attach_rest(module, content)


def attach_rest(module: nn.Module, content: Mapping[str, Any]) -> None:
    """Hold the tensors that a written state has beside the network's own: nothing reads them, and what
    looks for weights that are kept without need is to see them."""
    import torch

    for key in content.keys() - _KEYS:
        value = content[key]
        for index, one in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(one, torch.Tensor):
                module.register_buffer(f"{key}_{index}".replace(".", "_"), one, persistent=False)


def read_state(path: Path) -> dict[str, Any]:
    """The content of a written state: ``state``, and ``metadata`` about it.

    Raises:
        QuantizeError: the file is damaged, or of another version.
    """
    import torch

    try:
        with quiet_torch_ao():  # rebuilding a quantized tensor goes through a deprecated class
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip, pickle or tensor each raise their own
        raise QuantizeError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or content.get("version") != STATE_VERSION:
        raise QuantizeError(f"{path}: is no quantized state of this version; quantize again")
    return content


def check_names(ours: Collection[str], given: Collection[str], path: Path) -> None:
    """Compare the entries of a network's state with those of a written one.

    Raises:
        QuantizeError: they differ.
    """
    if odd := sorted(set(ours) ^ set(given)):
        raise QuantizeError(
            f"{path}: does not fit the model: {len(odd)} entries differ, first {odd[0]}"
        )


def _set_graph_weights(module: nn.Module, state: dict[str, Any]) -> None:
    """Put the packed weights of functional operators into their graph, and take them out of ``state``:
    torch writes those of operators inside of modules, but reads only those outside of any."""
    import torch

    for name in [n for n in state if "_packed_weight" in n and "." not in n]:
        if isinstance(getattr(module, name, None), torch.ScriptObject):
            setattr(module, name, state.pop(name))


def _fp16_linears(state: dict[str, Any]) -> list[tuple[str, tuple[Any, Any]]]:
    """Weight and bias of dynamic linear modules that compute with float16 weights."""
    import torch

    return [
        (name, value)
        for name, value in state.items()
        if name.endswith("._packed_params")
        and state.get(name.removesuffix("_packed_params") + "dtype") is torch.float16
    ]


def _plain(name: str, value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        # A clone alone in its storage: a view would write the tensor it is a view of.
        return value.detach().clone()
    if isinstance(value, tuple):
        return tuple(_plain(name, item) for item in value)
    if not isinstance(value, torch.ScriptObject):
        return value
    script: Any = value  # torch's annotations know nothing of these objects
    kind = packed_kind(script)
    if kind == LINEAR:
        return {_PACKED: kind, "parts": _plain(name, unpack_linear(script))}
    if kind == CELL:
        # torch pickles cells as (tag, tensors, doubles, longs, packed linear parameters).
        tag, _, _, longs, parts = script.__getstate__()[0]
        if tag in _CELL_TAGS:
            return {
                _PACKED: kind,
                "tag": tag,
                "reduce_range": bool(longs[0]) if longs else False,
                "parts": [_plain(name, part) for part in parts],
            }
    if (
        kind in _CONVOLUTIONS
        and not (geometry := _geometry(script, _CONVOLUTIONS[kind]))["transposed"]
    ):
        parts = getattr(torch.ops.quantized, f"{_CONVOLUTIONS[kind]}_unpack")(script)
        return {_PACKED: kind, "parts": _plain(name, tuple(parts)), **geometry}
    raise QuantizeError(f"'{name}' holds packed parameters of kind {kind}, which cannot be written")


def _geometry(script: Any, operator: str) -> dict[str, Any]:
    import torch

    def ask(what: str) -> Any:
        return getattr(torch.ops.quantized, f"{operator}_{what}")(script)

    return {
        "stride": list(ask("stride")),
        "padding": list(ask("padding")),
        "dilation": list(ask("dilation")),
        "groups": int(ask("groups")),
        "transposed": bool(ask("transpose")),
    }


def _packed(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_packed(item) for item in value)
    if not isinstance(value, dict) or _PACKED not in value:
        return value
    if value[_PACKED] in _CONVOLUTIONS:
        return _packed_convolution(value)
    return _packed_linear(*value["parts"]) if value[_PACKED] == LINEAR else _packed_cell(value)


def _packed_linear(weight: Any, bias: Any) -> Any:
    import torch

    if weight.is_quantized:
        return torch.ops.quantized.linear_prepack(weight, bias)
    return torch.ops.quantized.linear_prepack_fp16(weight.to(torch.float32), bias)


def _packed_convolution(value: dict[str, Any]) -> Any:
    import torch

    pack = getattr(torch.ops.quantized, f"{_CONVOLUTIONS[value[_PACKED]]}_prepack")
    weight, bias = value["parts"]
    return pack(weight, bias, value["stride"], value["padding"], value["dilation"], value["groups"])


def _packed_cell(value: dict[str, Any]) -> Any:
    import torch

    parts = [_packed(part) for part in value["parts"]]
    if value["tag"] == "quantized_fp16":
        return torch.ops.quantized.make_quantized_cell_params_fp16(*parts)
    biases = [part["parts"][1] for part in value["parts"]]
    return torch.ops.quantized.make_quantized_cell_params_dynamic(
        *parts, *biases, value["reduce_range"]
    )
