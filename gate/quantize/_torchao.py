"""Base of the torchao methods, whose state holds plain tensors alone.

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

from gate.models.torch_runtime import torch_unavailable
from gate.models.torchao_weights import inner_tensors, is_torchao
from gate.quantize._torch_method import TorchMethod
from gate.quantize._torch_state import STATE_VERSION, attach_rest, check_names, read_state
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import Tensor, nn


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


class TorchaoMethod(TorchMethod):
    """A method of torchao; it says how the network is quantized (``_structure``) and nothing else."""

    def unavailable(self) -> str | None:
        """Why torchao is not here, or None."""
        return torchao_unavailable()

    def versions(self) -> Mapping[str, str]:
        """See ``Quantizer.versions``."""
        return torchao_versions()

    def _save(self, module: nn.Module, path: Path) -> None:
        import torch

        # Clones stand alone in their storages: a view would write the tensor it is a view of.
        state = {name: value.detach().clone() for name, value in _plain_tensors(module)}
        torch.save({"version": STATE_VERSION, "state": state, "metadata": {}}, path)

    def _load(self, module: nn.Module, path: Path) -> None:
        import torch

        content = read_state(path)
        state: dict[str, Tensor] = content["state"]
        ours = dict(_plain_tensors(module))
        check_names(ours, state, path)
        with torch.no_grad():
            for name, value in ours.items():
                given = state[name]
                if (given.shape, given.dtype) != (value.shape, value.dtype):
                    raise QuantizeError(
                        f"{path}: does not fit the model: '{name}' has another shape"
                    )
                value.copy_(given)
        attach_rest(module, content)


def _plain_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the state, those inside torchao's under names of their own."""
    for name, value in module.state_dict().items():
        if is_torchao(value):
            for part, tensor in inner_tensors(value).items():
                yield f"{name}:{part}", tensor
        else:
            yield name, value
