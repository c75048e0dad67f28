"""PT2E's programs: exported from a float network, and kept as an archive of ``torch.export.save``.

Exporting a quantized graph again drops the paths of the modules that its calls came from, by which layers are
known. They are written into the archive, call by call in order of execution, and put back when
it is opened.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.exported import program_module
from gate.models.pt2_archive import check_archive
from gate.models.tensors import example_inputs
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule, Node

PROGRAM_FILE = "model.pt2"
_CALLS = "gate_calls"
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


def program_graph(program: Any) -> GraphModule:
    """The module of a program, without its checks of input shapes."""
    module: Any = program_module(program)
    return module  # type: ignore[no-any-return]


def save_program(graph: GraphModule, inputs: Mapping[str, InputSpec], path: Path) -> None:
    """Write a converted graph with the modules that its calls come from.

    Raises:
        QuantizeError: it cannot be exported again.
    """
    import torch

    table = [[_word(node), _place(node)] for node in _calls(graph)]
    program = _program(graph, inputs, strict=True)
    if [word for word, _ in table] != [_word(node) for node in _calls(program_graph(program))]:
        raise QuantizeError("torch.export changed the order of the quantized graph's calls")
    with quiet_pt2e():
        torch.export.save(program, path, extra_files={_CALLS: json.dumps(table)})


def open_program(path: Path) -> GraphModule:
    """Read a converted graph back, after a look inside for what could run code.

    Raises:
        QuantizeError: the file is damaged, refused, or was not written by :func:`save_program`.
    """
    import torch

    register_operators()
    extra = {_CALLS: ""}
    try:
        check_archive(path)
        with quiet_pt2e():
            graph = program_graph(torch.export.load(path, extra_files=extra))
        table = json.loads(extra[_CALLS])
    except ModelError as error:
        raise QuantizeError(str(error)) from error
    except Exception as error:  # a damaged or foreign archive fails in many ways
        raise QuantizeError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    nodes = _calls(graph)
    if [word for word, _ in table] != [_word(node) for node in nodes]:
        raise QuantizeError(f"{path}: its table of calls is of another graph; quantize again")
    for node, (_, place) in zip(nodes, table, strict=True):
        node.meta["nn_module_stack"] = {"gate": (place, "")}
    return graph


def _program(module: nn.Module, inputs: Mapping[str, InputSpec], *, strict: bool) -> Any:
    import torch

    dims = {
        axis: torch.export.Dim(axis)
        for spec in inputs.values()
        for axis in spec.shape
        if isinstance(axis, str)
    }
    shapes = tuple(
        {place: dims[axis] for place, axis in enumerate(spec.shape) if isinstance(axis, str)}
        for spec in inputs.values()
    )
    try:
        with torch.enable_grad(), quiet_pt2e():
            return torch.export.export(
                module, example_inputs(inputs), dynamic_shapes=shapes, strict=strict
            )
    except Exception as error:  # export runs the model's code, which may raise anything
        told = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise QuantizeError(
            f"torch.export{' (strict)' if strict else ''} refuses the model "
            f"({type(error).__name__}: {told}); {'try strict: false, or ' if strict else ''}use a "
            "method that does not export, such as torch-fx-static"
        ) from error


def _calls(graph: GraphModule) -> list[Node]:
    return [n for n in graph.graph.nodes if n.op == "call_function"]


def _word(node: Node) -> str:
    return str(node.target)


def _place(node: Node) -> str:
    """Path of the module that a call comes from; empty where that is not known."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""
