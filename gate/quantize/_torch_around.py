"""Does something before and after a module's own ``forward``, without changing any module's path.

A wrapper would put a name before every path, and hooks are not seen by ``torch.fx``. So the module gets a
class of its own, with the same name, that extends its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn


def around(
    module: nn.Module,
    *,
    inputs: int | None,
    enter: Callable[[Any, tuple[Any, ...]], tuple[Any, ...]],
    leave: Callable[[Any, Any], Any],
    added: Sequence[str] = (),
) -> None:
    """Let ``module`` compute ``leave(self, forward(*enter(self, inputs)))``, in place.

    Args:
        module: any module but a ``GraphModule``, whose graph would not show it.
        inputs: how many it takes, where it is to be traced as a whole; else None.
        enter: the inputs of ``forward``, from those that were given.
        leave: the result, from that of ``forward``.
        added: names of submodules that serve ``enter`` and ``leave``: an ``nn.Sequential`` does not
            call them itself.

    Raises:
        QuantizeError: the model is a ``GraphModule``.
    """
    from torch import fx, nn

    base: Any = type(module)
    if isinstance(module, fx.GraphModule):
        raise QuantizeError(
            "the model is a traced torch.fx.GraphModule; give the module it was made of"
        )

    def run(self: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        return leave(self, base.forward(self, *enter(self, given), **named))

    forwards: dict[int | None, Callable[..., Any]] = {
        # Tracing needs the arguments by name.
        1: lambda self, x: run(self, (x,), {}),
        2: lambda self, x, y: run(self, (x, y), {}),
        3: lambda self, x, y, z: run(self, (x, y, z), {}),
    }
    forward = forwards.get(inputs, lambda self, *given, **named: run(self, given, named))
    members: dict[str, Any] = {"forward": forward, "__module__": base.__module__}
    if issubclass(base, nn.Sequential):
        members["__iter__"] = lambda self: iter(
            [part for name, part in self._modules.items() if name not in added]
        )
    module.__class__ = type(base.__name__, (base,), members)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with every floating-point or quantized tensor in it changed; other things stay.

    A stand-in of a tensor, in tracing, counts as one.
    """
    import torch
    from torch import fx

    if isinstance(value, fx.Proxy):
        return change(value)
    if isinstance(value, torch.Tensor):
        return change(value) if value.is_floating_point() or value.is_quantized else value
    if isinstance(value, Mapping):
        # The kind of mapping matters to no one: outputs are read by key.
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(item, change) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(mapped(item, change) for item in value)
    return value
