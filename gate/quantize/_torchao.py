"""What the torchao methods share: the choice of modules, and a state that holds plain tensors alone.

torchao swaps a module's weight for a tensor of a class of its own. ``torch.save`` would pickle that
class; the file written here holds the plain tensors inside it, each under the parameter's name and its
own (``head.weight:qdata``), and opens with ``weights_only=True``. To open it again the float network is
quantized the same way, which gives the structure, and every tensor is put back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.models.hashing import files_sha256
from gate.models.torch_runtime import torch_unavailable
from gate.models.torchao_weights import inner_tensors, is_torchao
from gate.quantize.base import QuantizeError
from gate.quantize.keep_float import told

if TYPE_CHECKING:
    from torch import Tensor, nn

STATE_FILE = "model.pt"
_VERSION = 1


def torchao_unavailable() -> str | None:
    """Why torchao is not here, without importing it; None where it is."""
    if reason := torch_unavailable():
        return reason
    if find_spec("torchao") is None:
        return "torchao is not installed: pip install 'quantgate[torchao]'"
    return None


def torchao_versions() -> Mapping[str, str]:
    """torch and torchao decide the result."""
    return {"torch": version("torch"), "torchao": version("torchao")}


def chosen_modules(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str], *, method: str
) -> list[str]:
    """Paths of the modules of the classes ``options["modules"]`` that are not kept in float.

    Raises:
        QuantizeError: there is none.
    """
    from torch import nn

    from gate.quantize._torch_common import module_kinds

    kinds = tuple(getattr(nn, name) for name in options["modules"])
    chosen = [
        name
        for name, part in module.named_modules()
        if name
        and type(part) in kinds
        and not any(name == k or name.startswith(f"{k}.") for k in kept)
    ]
    if not chosen:
        raise QuantizeError(
            f"nothing to quantize: {method} was told to quantize {', '.join(options['modules'])}"
            f"{' except ' + told(options['keep_float']) if kept else ''}; "
            f"the model is made of {module_kinds(module)}"
        )
    return chosen


def swapped(
    module: nn.Module, names: Sequence[str], config_of: Callable[[nn.Module], Any], *, method: str
) -> nn.Module:
    """A copy of ``module`` in which torchao has quantized the modules ``names``.

    Raises:
        QuantizeError: torchao refuses one, or leaves one as it was.
    """
    from torchao.quantization import quantize_

    made = copy.deepcopy(module)
    for name in names:
        part = made.get_submodule(name)
        try:
            quantize_(part, config_of(part), filter_fn=lambda found, _, part=part: found is part)
        # All four are torchao's ways to refuse a shape, a group or a layer.
        except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
            raise QuantizeError(f"{method}: torchao refuses '{name}': {error}") from error
        # torchao skips some shapes with a line in its log alone.
        if not is_torchao(made.get_submodule(name).weight):
            raise QuantizeError(
                f"{method} quantized nothing of '{name}': torchao left its weight in float; keep it in "
                "float by name, or choose another group"
            )
    return made.eval()


def write_state(
    module: nn.Module, *, producer: str, options: Mapping[str, JsonValue], out_dir: Path
) -> Artifact:
    """Save the state of a network with torchao weights and describe the file."""
    import torch

    path = out_dir / STATE_FILE
    # Clones stand alone in their storages: a view would write the tensor it is a view of.
    state = {name: value.detach().clone() for name, value in _plain_tensors(module)}
    torch.save({"version": _VERSION, "state": state, "metadata": {}}, path)
    return Artifact(
        format=Format.TORCH_QUANTIZED,
        path=path,
        sha256=files_sha256([path]),
        size_bytes=path.stat().st_size,
        producer=producer,
        options=dict(options),
    )


def read_state(module: nn.Module, path: Path) -> None:
    """Put a written state into a network of the same structure, strictly.

    Raises:
        QuantizeError: the file is damaged, or of another structure or version.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip, pickle or tensor each raise their own
        raise QuantizeError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise QuantizeError(f"{path}: is no quantized state of this version; quantize again")
    state: dict[str, Tensor] = content["state"]
    ours = dict(_plain_tensors(module))
    if odd := sorted(set(ours) ^ set(state)):
        raise QuantizeError(
            f"{path}: does not fit the model: {len(odd)} entries differ, first {odd[0]}"
        )
    with torch.no_grad():
        for name, value in ours.items():
            given = state[name]
            if (given.shape, given.dtype) != (value.shape, value.dtype):
                raise QuantizeError(f"{path}: does not fit the model: '{name}' has another shape")
            value.copy_(given)


def _plain_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the state, those inside torchao's under names of their own."""
    for name, value in module.state_dict().items():
        if is_torchao(value):
            for part, tensor in inner_tensors(value).items():
                yield f"{name}:{part}", tensor
        else:
            yield name, value
