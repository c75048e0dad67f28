"""Which layers of the float graph does each folded layer stand for?

Quantizers and optimisers rename nodes but keep the names of the tensors between them. A folded
layer therefore stands for the float nodes on the way back from its output to its inputs, and for
nothing where that way does not close: no guess is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gate.backends import _onnx_ops as ops
from gate.backends._onnx_fold import Folded, Folder
from gate.backends._onnx_graph import Graph, Node

_STORED_SUFFIX = "_quantized"  # ONNX Runtime's quantizer names the stored form of a tensor so


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A layer's stable name and the float layers it covers (empty: the one of its own name)."""

    name: str
    covers: tuple[str, ...]


def identify(
    folder: Folder, candidate: Graph, reference: Graph
) -> tuple[tuple[Folded, Identity], ...]:
    """Name the layers of ``folder`` after the float layers they stand for, in order.

    Where the candidate splits a float layer (a matrix product and its bias), the parts come as one.
    """
    resolved = {
        name: found
        for name, members in folder.members.items()
        if (found := _resolve(members, candidate, reference)) is not None
    }
    reference_names = {node.name for node in reference.nodes}
    taken: set[str] = set()
    result = []
    for layer, chain in _joined(_with_clamps(folder.layers, candidate), resolved, reference):
        name = _name(layer, chain, reference_names)
        if name in taken:
            name = layer.node.name if layer.node.name not in taken else f"{name}:{layer.class_out}"
        taken.add(name)
        covers = tuple(node.name for node in chain)
        result.append((layer, Identity(name=name, covers=() if covers == (name,) else covers)))
    return tuple(result)


def _with_clamps(layers: tuple[Folded, ...], candidate: Graph) -> tuple[Folded, ...]:
    """Join a layer whose output is stored in integers with the clamp that alone reads it.

    ONNX Runtime's quantizer gives the tensor before a clamp the range after it, even where the clamp
    stays: what lies outside is cut off already, and that tensor alone says nothing. Others round after
    the clamp only, which the runtime fuses into the layer.
    """
    readers = Counter(name for layer in layers for name in set(layer.classes_in))
    makers = {layer.class_out: layer for layer in layers}
    clamps: dict[str, Folded] = {}  # by the class of the tensor before
    for layer in layers:
        before = makers.get(layer.classes_in[0]) if layer.classes_in else None
        if (
            layer.node.op in ops.CLAMPS
            and before is not None
            and (before.stored is not None or (before.quantized and layer.stored is not None))
            and before.node.op not in ops.CLAMPS
            and readers[before.class_out] == 1
            and before.outputs[0] not in candidate.outputs
        ):
            clamps[before.class_out] = layer
    joined = {layer.node.name for layer in clamps.values()}
    return tuple(
        _followed(layer, clamps[layer.class_out]) if layer.class_out in clamps else layer
        for layer in layers
        if layer.node.name not in joined
    )


def _followed(layer: Folded, after: Folded) -> Folded:
    return replace(layer, outputs=after.outputs, class_out=after.class_out, stored=after.stored)


def _joined(
    layers: tuple[Folded, ...], resolved: dict[str, str], reference: Graph
) -> Iterator[tuple[Folded, tuple[Node, ...]]]:
    """Layers with their chains; a layer whose output the float graph does not know is joined with
    the only one that reads it, if that closes the way back and one of the two is glue."""
    readers = Counter(name for layer in layers for name in set(layer.classes_in))
    parts: dict[str, Folded] = {}  # by the class of an output that the float graph does not know
    for layer in layers:
        whole, chain = layer, _chain(layer, resolved, reference)
        before = [parts[name] for name in layer.classes_in if name in parts]
        if not chain and len(before) == 1:
            joined = _join(before[0], layer)
            chain = _chain(joined, resolved, reference) if joined is not None else ()
            if joined is not None and chain:
                whole = joined
                del parts[before[0].class_out]
        if not chain and layer.class_out not in resolved and readers[layer.class_out] == 1:
            parts[layer.class_out] = layer
            continue
        for name in [name for name in parts if name in layer.classes_in]:
            yield parts.pop(name), ()  # read, and not joined: a layer of its own
        yield whole, chain
    yield from ((part, ()) for part in parts.values())


def _join(first: Folded, second: Folded) -> Folded | None:
    main, rest = (first, second) if ops.computes(first.node.op) else (second, first)
    if rest.node.op not in ops.GLUE:
        return None
    others = [
        (name, its)
        for name, its in zip(second.inputs, second.classes_in, strict=True)
        if its != first.class_out
    ]
    return replace(
        main,
        inputs=(*first.inputs, *(name for name, _ in others)),
        classes_in=(*first.classes_in, *(its for _, its in others)),
        outputs=second.outputs,
        class_out=second.class_out,
        stored=second.stored,
        weights=(*first.weights, *second.weights),
    )


def _name(layer: Folded, chain: tuple[Node, ...], reference_names: set[str]) -> str:
    names = [node.name for node in chain]
    if not chain:
        return layer.name if layer.name in reference_names else layer.node.name
    if layer.name in names:
        return layer.name
    computing = [node.name for node in chain if ops.computes(node.op)]
    return computing[0] if len(computing) == 1 else names[-1]


def _resolve(members: list[str], candidate: Graph, reference: Graph) -> str | None:
    """The float tensor that a value of the candidate stands for; the latest of several."""
    known = [
        name
        for member in members
        for name in dict.fromkeys((member, member.removesuffix(_STORED_SUFFIX)))
        if name in reference.variable
    ]
    if not known:
        return None

    def place(name: str) -> int:
        producer = reference.producer.get(name)
        return -1 if producer is None else producer.index

    return max((_past_clamps(name, candidate, reference) for name in known), key=place)


def _past_clamps(name: str, candidate: Graph, reference: Graph) -> str:
    """Follow activations that the candidate left to the range of the stored tensor."""
    while name not in reference.outputs:
        readers = reference.consumers.get(name, [])
        if len(readers) != 1 or readers[0].op not in ops.CLAMPS:
            break
        after = readers[0].outputs[0]
        made = candidate.producer.get(after)
        if made is not None and not candidate.is_boundary(made):
            break  # the candidate has the activation, or a node fused with it
        if readers[0].name in {node.name for node in candidate.consumers.get(name, [])}:
            break
        name = after
    return name


def _chain(layer: Folded, resolved: dict[str, str], reference: Graph) -> tuple[Node, ...]:
    """Float nodes between the layer's inputs and its output, in order; empty where not provable."""
    target = resolved.get(layer.class_out)
    stops = {resolved.get(name) for name in layer.classes_in}
    if target is None or target in stops or None in stops:
        return ()
    found: dict[int, Node] = {}
    waiting = [target]
    while waiting:
        node = reference.producer.get(waiting.pop())
        if node is None:
            return ()  # a graph input that the layer does not read
        if node.index in found:
            continue
        found[node.index] = node
        waiting += [name for name in node.reads if name in reference.variable and name not in stops]
    return tuple(found[index] for index in sorted(found))
