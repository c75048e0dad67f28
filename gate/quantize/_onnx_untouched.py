"""Operators that a spec names for quantization, and that the library passed over in silence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.quantize.base import QuantizeError

_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Attention": (1,),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gather": (0,),
    "Gemm": (1,),
    "LSTM": (1, 2),
    "MatMul": (1,),
}
"""Operator -> operands that hold its weights."""
_PRODUCT = "_MatMul"
"""What the library appends to the name of a Gemm that it writes as a product and an addition."""


def check_op_types(
    written: Path,
    prepared: Path,
    op_types: Sequence[str] | None,
    *,
    excluded: Collection[str] = (),
    aliases: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Of each operator that ``op_types`` names, some node with constant weights was quantized.

    Args:
        written: what the quantizer wrote.
        prepared: the float model that it was given.
        op_types: the spec's option; None names nothing.
        excluded: names of nodes that the spec keeps in floating point.
        aliases: operator in ``op_types`` -> operators of the float model that the library takes for it.

    Raises:
        QuantizeError: the model has no such operator, or all of them are as they were.
    """
    if not op_types:
        return
    import onnx

    before = onnx.load_model(str(prepared), load_external_data=False).graph
    left = _float_weights(onnx.load_model(str(written), load_external_data=False).graph)
    for op in op_types:
        meant = {op, *(aliases or {}).get(op, ())}
        own = [node for node in before.node if node.op_type in meant]
        if not own:
            present = ", ".join(sorted({node.op_type for node in before.node}))
            raise QuantizeError(f"op_types: the model has no {op}; its operators are {present}")
        constant = {tensor.name for tensor in before.initializer}
        candidates = [
            node.name
            for node in own
            if node.name not in excluded and _operands(node) & constant and op in _WEIGHTS
        ]
        if candidates and all(name in left or f"{name}{_PRODUCT}" in left for name in candidates):
            raise QuantizeError(
                f"op_types names {op}, and no {op} was quantized: {', '.join(candidates[:4])}"
                f"{' and others' if len(candidates) > 4 else ''} left in float{_hint(op, aliases)}"
            )


def _hint(op: str, aliases: Mapping[str, Collection[str]] | None) -> str:
    taken = [name for name, others in (aliases or {}).items() if op in others]
    return f" (this method takes {op} as {taken[0]}: name that)" if taken else ""


def _float_weights(graph: Any) -> set[str]:
    """Names of the nodes whose weights are constants in floating point."""
    from onnx import TensorProto

    real = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    return {node.name for node in graph.node if _operands(node) & real}


def _operands(node: Any) -> set[str]:
    places = _WEIGHTS.get(node.op_type, ())
    return {node.input[place] for place in places if place < len(node.input)}
