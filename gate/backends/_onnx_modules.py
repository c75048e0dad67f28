"""The layers of a file that was exported from torch modules, under the names of those modules.

The file says which of its tensors are outputs of which modules (``gate.models.onnx_modules``). The
nodes between two such tensors are one layer, whatever the exporter made of a module: a product and
its bias, a recurrent cell between transpositions, a convolution with a batch norm in its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Folded
from gate.backends._onnx_follow import Identity

_APART = "@candidate"


def as_modules(
    layers: Sequence[Folded], modules: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Folded, Identity], ...]:
    """Join ``layers``, in order of execution, to modules.

    What belongs to no module keeps its own name, set apart where that could be a module's.
    """
    maker = {out: index for index, layer in enumerate(layers) for out in layer.outputs[:1]}
    joined: dict[int, tuple[Folded, Identity]] = {}  # by the place of its last member
    inside: set[int] = set()
    for tensor, covers in modules.items():
        if not covers or tensor not in maker:
            continue
        members = sorted(_way_back(maker[tensor], layers, maker, modules))
        if inside.isdisjoint(members):
            inside.update(members)
            whole = _join([layers[index] for index in members], tensor)
            joined[members[-1]] = whole, _identity(covers)
    return tuple(
        joined[index] if index in joined else (layer, _apart(layer))
        for index, layer in enumerate(layers)
        if index in joined or index not in inside
    )


def _way_back(
    last: int,
    layers: Sequence[Folded],
    maker: Mapping[str, int],
    modules: Mapping[str, tuple[str, ...]],
) -> set[int]:
    """Layers between the known tensors before a layer and its own output."""
    found: set[int] = set()
    waiting = [last]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            before = (name for name in layers[index].inputs if name not in modules)
            waiting += [maker[name] for name in before if name in maker]
    return found


def _join(members: Sequence[Folded], tensor: str) -> Folded:
    computing = [layer for layer in members if ops.computes(layer.node.op)]
    main = computing[0] if computing else members[-1]
    made = {out for layer in members for out in layer.outputs}
    inputs = tuple(dict.fromkeys(name for name in _inputs(members) if name not in made))
    return replace(
        main,
        inputs=inputs,
        classes_in=inputs,
        outputs=(tensor,),
        class_out=tensor,
        weights=tuple(weight for layer in members for weight in layer.weights),
    )


def _inputs(members: Sequence[Folded]) -> Iterator[str]:
    for layer in members:
        yield from layer.inputs


def _identity(covers: tuple[str, ...]) -> Identity:
    """Named after its first module, as the same layers are in a quantized torch model."""
    return Identity(name=covers[0], covers=covers if len(covers) > 1 else ())


def _apart(layer: Folded) -> Identity:
    # The exporter's names are a module's path, or an operator's in it (``lstm/Transpose``).
    name = layer.node.name
    own = "/" in name or name.partition("#")[0] == layer.node.op
    return Identity(name=name if own else f"{name}{_APART}", covers=())
