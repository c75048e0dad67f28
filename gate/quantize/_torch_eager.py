"""torch's eager flow around any float network: stubs, fusion, preparation, conversion.

Eager quantization changes modules only. Tensors enter through ``QuantStub`` and leave through
``DeQuantStub``; what the network computes between its modules by functions (``x + y``, ``torch.cat``) has
no integer kernel, so such networks need ``FloatFunctional`` in the float model, or the FX flow.

The stubs go into the network itself, not around it, so that every module keeps its path.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.tensors import example_inputs
from gate.quantize._torch_around import around, mapped
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import Node

_WITHOUT_KERNEL = ("QuantizedCPU", "quantized tensor", "Quantized")


def prepared_eager(
    module: nn.Module,
    inputs: Mapping[str, InputSpec],
    kept: Sequence[str],
    qconfig_of: Callable[[nn.Module], Any],
    *,
    train: bool,
    stubs: bool = True,
    fuse: bool = True,
) -> nn.Module:
    """A copy with stubs, fused modules and observers, or fake-quantizers where it is to ``train``.

    Args:
        module: the float network, in evaluation mode.
        inputs: its declared inputs; those of floating point are quantized.
        kept: paths that stay in floating point; what enters them is dequantized, and what leaves them
            quantized again unless it is an output of the network.
        qconfig_of: the configuration for a module by its kind; None for none.
        train: for quantization-aware training, in training mode.
        stubs: give a network that has none of its own stubs at its inputs and outputs.
        fuse: make convolution, batch norm and ReLU one module.

    Raises:
        QuantizeError: the network cannot be prepared.
    """
    from torch.ao.quantization import (
        QuantStub,
        fuse_modules,
        fuse_modules_qat,
        prepare,
        prepare_qat,
    )

    made = copy.deepcopy(module).eval()
    own_stubs = not stubs or any(isinstance(part, QuantStub) for part in made.modules())
    # Below a module that is kept there is nothing left to keep.
    kept = [k for k in kept if not any(k.startswith(f"{other}.") for other in kept)]
    groups = fusable(made, kept) if fuse else []
    last = _output_modules(made, kept, inputs)
    made.train(train)
    try:
        if groups:
            (fuse_modules_qat if train else fuse_modules)(made, groups, inplace=True)
        for name in kept:
            _keep(made.get_submodule(name), qconfig_of, quantize_again=name not in last)
        if not own_stubs:
            _add_stubs(made, inputs, qconfig_of)
        _configure(made, kept, qconfig_of)
        prepared: nn.Module = (prepare_qat if train else prepare)(made, inplace=True)
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise QuantizeError(
            f"torch's eager flow cannot prepare the model ({error}); keep that layer in float "
            "(keep_float), or use the FX flow"
        ) from error
    return prepared


def converted_eager(prepared: nn.Module, inputs: Mapping[str, InputSpec]) -> nn.Module:
    """The integer network, which has been run once.

    Raises:
        QuantizeError: it cannot be converted, or does something that has no integer kernel.
    """
    import torch
    from torch.ao.quantization import convert

    try:
        converted: nn.Module = convert(prepared.eval(), inplace=False).eval()
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise QuantizeError(f"torch's eager flow cannot convert the model: {error}") from error
    try:
        with torch.inference_mode():
            converted(*example_inputs(inputs))
    # NotImplementedError is what torch raises where it has no kernel for the types it is given.
    except (RuntimeError, NotImplementedError, TypeError) as error:
        first = str(error).strip().split("\n", 1)[0].split(". ", 1)[0].rstrip(".") + "."
        if "'quantized::" in first and "from the 'CPU' backend" in first:
            raise QuantizeError(
                f"the converted model does not run: {first} That is an integer kernel with a floating-point "
                "tensor: no QuantStub stands before it"
            ) from error
        if not any(word in str(error) for word in _WITHOUT_KERNEL):
            raise QuantizeError(f"the converted model does not run: {first}") from error
        raise QuantizeError(
            f"the converted model does not run: {first} Torch's eager flow quantizes modules only: use "
            "FloatFunctional for what the model computes between them, keep the module around it in float "
            "(keep_float), or use the FX flow"
        ) from error
    return converted


def fusable(module: nn.Module, kept: Sequence[str]) -> list[list[str]]:
    """Paths of convolution, batch norm and ReLU (or linear and ReLU) that run right after one another
    and nowhere else; none where the network cannot be traced."""
    from torch import fx

    try:
        graph = fx.Tracer().trace(module)
    except Exception:  # noqa: BLE001 - the model's own code runs here and may raise anything
        return []
    used = Counter(node.target for node in graph.nodes if node.op == "call_module")

    def single(node: Node) -> bool:
        name = str(node.target)
        return used[node.target] == 1 and not any(
            name == keep or name.startswith(f"{keep}.") for keep in kept
        )

    groups = []
    for node in graph.nodes:
        if node.op == "call_module" and single(node):
            chain = _chain(module, node, single)
            if len(chain) > 1:
                groups.append(chain)
    return groups


def _chain(module: nn.Module, head: Node, single: Callable[[Node], bool]) -> list[str]:
    from torch import nn

    norms: dict[type, type] = {
        nn.Conv1d: nn.BatchNorm1d,
        nn.Conv2d: nn.BatchNorm2d,
        nn.Conv3d: nn.BatchNorm3d,
    }
    kind = type(module.get_submodule(str(head.target)))
    if kind not in norms and kind is not nn.Linear:
        return []
    wanted = [norms[kind], nn.ReLU] if kind in norms else [nn.ReLU]
    chain, node = [str(head.target)], head
    for following in wanted:
        if len(node.users) != 1:
            break
        user = next(iter(node.users))
        if user.op != "call_module" or not single(user):
            break
        if type(module.get_submodule(str(user.target))) is following:
            chain.append(str(user.target))
            node = user
        elif following is nn.ReLU:
            break
    return chain


def _output_modules(
    module: nn.Module, kept: Sequence[str], inputs: Mapping[str, InputSpec]
) -> set[str]:
    """Those of ``kept`` whose result is an output of the network as it is."""
    import torch

    if not kept:
        return set()
    made: dict[int, list[str]] = {}
    alive = []

    def remember(name: str, output: Any) -> None:
        def note(tensor: Any) -> Any:
            alive.append(tensor)  # so that no later tensor takes its identity
            made.setdefault(id(tensor), []).append(name)
            return tensor

        mapped(output, note)

    handles = [
        module.get_submodule(name).register_forward_hook(
            lambda _part, _given, output, name=name: remember(name, output)
        )
        for name in kept
    ]
    found: set[str] = set()

    def collect(tensor: Any) -> Any:
        found.update(made.get(id(tensor), ()))
        return tensor

    try:
        with torch.no_grad():
            mapped(module(*example_inputs(inputs)), collect)
    except (ModelError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise QuantizeError(f"the model does not run on its declared inputs: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return found


def _add_stubs(
    module: nn.Module, inputs: Mapping[str, InputSpec], qconfig_of: Callable[[nn.Module], Any]
) -> None:
    from torch import nn
    from torch.ao.quantization import DeQuantStub, QuantStub

    floating = [index for index, spec in enumerate(inputs.values()) if "float" in spec.dtype]
    qconfig = qconfig_of(module)
    stubs = nn.ModuleDict({str(index): QuantStub(qconfig) for index in floating})
    name, back = _free(module, "quant"), _free(module, "dequant")

    def enter(self: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        own = getattr(self, name)
        return tuple(own[str(i)](x) if str(i) in own else x for i, x in enumerate(given))

    def leave(self: Any, result: Any) -> Any:
        return mapped(result, getattr(self, back))

    around(module, inputs=len(inputs), enter=enter, leave=leave, added=(name, back))
    module.add_module(name, stubs)
    module.add_module(back, DeQuantStub(qconfig))
    module.train(module.training)


def _keep(
    module: nn.Module, qconfig_of: Callable[[nn.Module], Any], *, quantize_again: bool
) -> None:
    from torch.ao.nn.quantized import FloatFunctional
    from torch.ao.quantization import DeQuantStub, QuantStub

    if isinstance(module, FloatFunctional):
        raise QuantizeError(
            "keep_float: a FloatFunctional cannot stay in float by itself in torch's eager flow; keep the "
            "module around it"
        )
    qconfig = qconfig_of(module)
    name, back = _free(module, "quant"), _free(module, "dequant")

    def enter(self: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(mapped(x, getattr(self, back)) for x in given)

    def leave(self: Any, result: Any) -> Any:
        return mapped(result, getattr(self, name)) if quantize_again else result

    around(module, inputs=None, enter=enter, leave=leave, added=(name, back))
    if quantize_again:
        module.add_module(name, QuantStub(qconfig))
    module.add_module(back, DeQuantStub(qconfig))
    module.train(module.training)


def _configure(
    module: nn.Module, kept: Collection[str], qconfig_of: Callable[[nn.Module], Any]
) -> None:
    """A configuration on every module, so that none is inherited: none below ``kept`` but the stubs."""
    from torch.ao.quantization import DeQuantStub, QuantStub

    for name, part in module.named_modules():
        stub = isinstance(part, QuantStub | DeQuantStub)
        inside = any(name == keep or name.startswith(f"{keep}.") for keep in kept)
        part.qconfig = None if inside and not stub else qconfig_of(part)


def _free(module: nn.Module, name: str) -> str:
    while hasattr(module, name):
        name += "_"
    return name
