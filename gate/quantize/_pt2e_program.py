"""PT2E's programs: exported from a float network, and kept as an archive of ``torch.export.save``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.exported import program_module
from gate.models.pt2_archive import check_archive
from gate.models.tensors import dynamic_axes, example_inputs
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule

PROGRAM_FILE = "model.pt2"
_KNOWN_WARNINGS = (
    (DeprecationWarning, r".*"),
    (FutureWarning, r".*"),
    # PT2E says it on every call; strict export is what its quantizers are made for.
    (UserWarning, r".*(torch\.export|pt2e|erase_node|quantize|observer).*"),
)


@contextmanager
def quiet_pt2e() -> Iterator[None]:
    """Silence what torch.export and torchao say about themselves."""
    with warnings.catch_warnings():
        for category, message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", category=category, message=message)
        yield


def register_operators() -> None:
    """Make torch know the operators of PT2E's graphs, and Inductor the patterns in them."""
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401


def exported_graph(
    module: nn.Module, inputs: Mapping[str, InputSpec], *, strict: bool = True
) -> GraphModule:
    """A network as a graph of operators, with the dynamic axes that the spec names.

    Exported with gradients enabled, as training needs, whatever the caller's mode is.

    Raises:
        QuantizeError: ``torch.export`` refuses the network, or fixes a dynamic axis.
    """
    return program_graph(_program(module, inputs, strict=strict))


def fold_batch_norm(graph: GraphModule) -> None:
    """Fold batch norm into the convolutions and linear layers before it, in place."""
    from torchao.quantization.pt2e.utils import _fuse_conv_bn_, _fuse_linear_bn_

    _fuse_conv_bn_(graph)
    _fuse_linear_bn_(graph)


def program_graph(program: Any) -> GraphModule:
    """The module of a program, without its checks of input shapes."""
    module: Any = program_module(program)
    return module  # type: ignore[no-any-return]


def save_program(graph: GraphModule, inputs: Mapping[str, InputSpec], path: Path) -> None:
    """Write a converted graph; the same graph gives the same bytes.

    Raises:
        QuantizeError: it cannot be exported again.
    """
    import torch

    _drop_unread(graph)
    program = _program(graph, inputs, strict=True)
    for node in program.graph.nodes:
        # Where a call was written, by paths of this machine, and addresses in this process.
        node.meta.pop("stack_trace", None)
        node.meta.pop("from_node", None)
        if stack := node.meta.get("nn_module_stack"):
            node.meta["nn_module_stack"] = {str(i): v for i, v in enumerate(stack.values())}
    with quiet_pt2e():
        torch.export.save(program, path)


def open_program(path: Path) -> GraphModule:
    """Read a converted graph back, after a look inside for what could run code.

    Raises:
        QuantizeError: the file is damaged or refused, or holds no quantized program.
    """
    import torch

    register_operators()
    try:
        check_archive(path)
        with quiet_pt2e():
            program = torch.export.load(path)
            graph = program_graph(program)
    except ModelError as error:
        raise QuantizeError(str(error)) from error
    except Exception as error:  # a damaged or foreign archive fails in many ways
        raise QuantizeError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not integer_weights(graph):
        raise QuantizeError(f"{path}: holds no quantized weight; quantize again")
    _attach_unread(graph, program.state_dict)
    return graph


def _attach_unread(graph: GraphModule, state: Mapping[str, Tensor]) -> None:
    """Hold what the file holds and no call reads, which torch leaves out of the module: it is to be seen."""
    from torch import nn

    held = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
    for name in state.keys() - held:
        *path, attribute = name.split(".")
        owner: nn.Module = graph
        for part in path:
            if not isinstance(getattr(owner, part, None), nn.Module):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.register_buffer(attribute, state[name])


def _drop_unread(graph: GraphModule) -> None:
    """Take out the tensors that no call reads: conversion leaves the float weights behind."""
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    held = [name for name, _ in (*graph.named_parameters(), *graph.named_buffers())]
    for name in held:
        if name not in read:
            owner, _, attribute = name.rpartition(".")
            delattr(graph.get_submodule(owner), attribute)


def integer_weights(graph: GraphModule) -> int:
    """Dequantize calls that read a constant: the weights that were quantized."""
    return sum(
        str(node.target).startswith("quantized_decomposed.dequantize")
        and getattr(node.args[0], "op", "") == "get_attr"
        for node in graph.graph.nodes
    )


def _program(module: nn.Module, inputs: Mapping[str, InputSpec], *, strict: bool) -> Any:
    import torch

    try:
        with torch.enable_grad(), quiet_pt2e():
            return torch.export.export(
                module, example_inputs(inputs), dynamic_shapes=dynamic_axes(inputs), strict=strict
            )
    except Exception as error:  # export runs the model's code, which may raise anything
        told = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise QuantizeError(
            f"torch.export{' (strict)' if strict else ''} refuses the model "
            f"({type(error).__name__}: {told}); {'try strict: false, or ' if strict else ''}use a "
            "method that does not export, such as torch-fx-static"
        ) from error
