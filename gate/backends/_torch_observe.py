"""Runs a torch model call by call and shows each one, holding little more than one layer's output."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gate.backends._torch_decomposed import constant_weight, entering_type, leaving_qparams
from gate.backends._torch_graph import is_item_access

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

    from gate.core.layer import QParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One layer that has just run. Later layers may work in place: copy what is to be kept."""

    name: str
    module: nn.Module | None
    """Set where a module was called."""
    function: Any
    """Set where a function or a method was called: the function, or the method's name."""
    inputs: tuple[Tensor, ...]
    constants: tuple[Any, ...]
    """Weights among the arguments of a function: tensors, or packed objects."""
    output: Tensor
    """The first tensor, where there are several."""
    entering: tuple[str | None, ...] = ()
    """Of each input that comes out of a dequantize call beside the layer, the type of its integers;
    empty where none does."""
    leaving: QParams | None = None
    """How calls beside the layer quantize its output."""


class GraphObserver:
    """Interprets an FX graph node by node; a value is dropped after its last use."""

    def __init__(self, graph: GraphModule, names: Mapping[Node, str]) -> None:
        from torch import fx

        self._graph = graph
        self._names = names
        self._interpreter = fx.Interpreter(graph, garbage_collect_values=False)
        self._weights = {
            node: weight
            for node in graph.graph.nodes
            if (weight := constant_weight(graph, node)) is not None
        }
        self._last: dict[Node, list[Node]] = {}
        seen: set[Node] = set()
        for node in reversed(graph.graph.nodes):
            for used in (node, *node.all_input_nodes):
                if used not in seen:
                    seen.add(used)
                    self._last.setdefault(node, []).append(used)

    def stream(self, inputs: Sequence[Tensor]) -> Iterator[Call]:
        """Run the graph, showing the calls as they end."""
        values: dict[Node, Any] = {}
        given = iter(inputs)
        for node in self._graph.graph.nodes:
            if node.op == "output":
                return
            values[node] = (
                next(given, None) if node.op == "placeholder" else self._run(node, values)
            )
            call = self._call(node, values)
            if call is not None:
                yield call
            del call
            for dead in self._last.get(node, ()):
                values.pop(dead, None)

    def _run(self, node: Node, values: Mapping[Node, Any]) -> Any:
        import torch
        from torch.fx.node import map_arg

        arguments = map_arg(node.args, values.__getitem__)
        keywords = map_arg(node.kwargs, values.__getitem__)
        # Entered for each node: the mode must not reach into the code that reads the stream.
        with torch.inference_mode():
            return getattr(self._interpreter, node.op)(node.target, arguments, keywords)

    def _call(self, node: Node, values: Mapping[Node, Any]) -> Call | None:
        name = self._names.get(node)
        output = first_tensor(values[node])
        if name is None or output is None:
            return None
        sources = node.all_input_nodes
        if is_item_access(node.target) and isinstance(values[sources[0]], tuple | list):
            return None
        constants = [n for n in sources if n.op == "get_attr" or n in self._weights]
        data = {n: first_tensor(values[n]) for n in sources if n not in constants}
        entering = tuple(entering_type(n) for n, tensor in data.items() if tensor is not None)
        is_module = node.op == "call_module"
        return Call(
            name=name,
            module=self._graph.get_submodule(str(node.target)) if is_module else None,
            function=None if is_module else node.target,
            inputs=tuple(tensor for tensor in data.values() if tensor is not None),
            constants=tuple(self._weights.get(n, values[n]) for n in constants),
            output=output,
            entering=entering if any(entering) else (),
            leaving=leaving_qparams(node),
        )


class _AbandonedError(Exception):
    """Unwinds a model whose reader has gone."""


class HookObserver:
    """Hooks the leaf modules of a model that cannot be traced.

    The model runs in a helper thread, which waits at each leaf until the reader has taken its output,
    so no more than one is held.
    """

    def __init__(self, module: nn.Module, settings: Callable[[], None]) -> None:
        self._module = module
        self._settings = settings
        """Puts the thread's own settings (intra-op threads) in place."""

    def stream(self, inputs: Sequence[Tensor]) -> Iterator[Call]:
        """Run the model, showing the calls of its leaf modules as they end."""
        ready: queue.Queue[Call | BaseException | None] = queue.Queue(maxsize=1)
        proceed = threading.Semaphore(0)
        abandoned = threading.Event()

        def show(call: Call) -> None:
            ready.put(call)
            proceed.acquire()
            if abandoned.is_set():
                raise _AbandonedError

        thread = threading.Thread(
            target=self._run,
            args=(tuple(inputs), show, ready.put),
            name="gate-capture",
            daemon=True,
        )
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
                del item
                proceed.release()
        finally:
            abandoned.set()
            proceed.release()
            while thread.is_alive():
                # The thread may be waiting to hand over its last word.
                if not ready.empty():
                    ready.get_nowait()
                thread.join(timeout=0.01)

    def _run(
        self,
        inputs: tuple[Tensor, ...],
        show: Callable[[Call], None],
        finish: Callable[[BaseException | None], None],
    ) -> None:
        import torch

        handles = self._hook(show)
        problem: BaseException | None = None
        try:
            self._settings()
            with torch.inference_mode():
                self._module(*inputs)
        except _AbandonedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            problem = error
        finally:
            for handle in handles:
                handle.remove()
        finish(problem)

    def _hook(self, show: Callable[[Call], None]) -> list[Any]:
        used: Counter[str] = Counter()

        def hook_of(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, keywords: Any, output: Any) -> None:
                tensor = first_tensor(output)
                if tensor is None:
                    return
                used[name] += 1
                show(
                    Call(
                        name=name if used[name] == 1 else f"{name}#{used[name]}",
                        module=module,
                        function=None,
                        inputs=tuple(tensors((inputs, keywords))),
                        constants=(),
                        output=tensor,
                    )
                )

            return hook

        return [
            part.register_forward_hook(hook_of(name), with_kwargs=True)
            for name, part in leaves(self._module)
        ]


def leaves(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Outermost modules that are torch's own (containers aside) or have no children, by path."""
    from torch import nn

    for name, part in module.named_children():
        path = f"{prefix}{name}"
        own = type(part).__module__.startswith(("torch.nn", "torch.ao.nn"))
        container = isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        if (own and not container) or not list(part.children()):
            yield path, part
        else:
            yield from leaves(part, f"{path}.")


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in a nest of tuples, lists and mappings; None where there is none."""
    return next(tensors(value), None)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a nest of tuples, lists and mappings, in order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
