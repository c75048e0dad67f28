"""What the two static torch methods, FX and eager, share: options, completion, corrections in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.core.spec import Options, TargetSpec
from gate.models.torch_runtime import ENGINES, engine_of, quiet_torch_ao
from gate.quantize._torch_common import KEEP_FLOAT_SCHEMA
from gate.quantize.base import QuantizeError, with_defaults

if TYPE_CHECKING:
    from torch import nn

EQUALIZE, ROUND, BIAS = "cross-layer-equalization", "adaround", "bias-correction"

# Without VNNI the 16-bit sums of fbgemm's kernels saturate at full range; x86 may dispatch to them.
_REDUCES_RANGE = frozenset({"x86", "fbgemm"})

STATIC_PROPERTIES: Mapping[str, JsonValue] = {
    "observer": {
        "enum": ["minmax", "moving-average", "histogram", "percentile", "mse"],
        "default": "histogram",
        "description": "how the range of an activation is taken; histogram is torch's own search for "
        "a small squared error, mse looks at every range",
    },
    "percentile": {
        "type": "number",
        "exclusiveMinimum": 50,
        "maximum": 100,
        "default": 99.99,
        "description": "share of the values that a range keeps (observer: percentile)",
    },
    "weights": {
        "enum": [
            "int8/per-channel",
            "int8/per-tensor",
            "int8/per-channel/affine",
            "int8/per-tensor/affine",
        ],
        "default": "int8/per-channel",
        "description": "scales by output channel or for the whole tensor; symmetric unless it says affine, "
        "which the engine onednn has no kernels for",
    },
    "weight_observer": {
        "enum": ["minmax", "mse"],
        "default": "minmax",
        "description": "scale of a weight by its largest magnitude, or by the least squared error",
    },
    "activations": {
        "enum": ["quint8/affine", "quint8/symmetric"],
        "default": "quint8/affine",
        "description": "symmetric puts the zero point at 128",
    },
    "reduce_range": {
        "type": "boolean",
        "description": "affine activations in 7 bits; default true for engines x86 and fbgemm",
    },
    "keep_float": KEEP_FLOAT_SCHEMA,
    "correct": {
        "type": "array",
        "items": {"enum": [EQUALIZE, ROUND, BIAS]},
        "uniqueItems": True,
        "default": [],
        "description": "error compensation, always in this order: equalised weight ranges of "
        "neighbouring layers, learned rounding, bias corrected by the mean error",
    },
    "adaround_iterations": {
        "type": "integer",
        "minimum": 1,
        "default": 500,
        "description": "steps of the learned rounding, a layer",
    },
    "engine": {
        "enum": list(ENGINES),
        "description": "kernels to quantize for; default the target's engine",
    },
}
"""JSON Schema properties of both methods."""


def completed(
    options: Options, schema: Mapping[str, JsonValue], target: TargetSpec
) -> dict[str, JsonValue]:
    """The options with every default.

    Raises:
        QuantizeError: options that contradict one another.
    """
    complete = with_defaults(options, schema)
    complete.setdefault("engine", engine_of(target.options))
    symmetric = complete["activations"] == "quint8/symmetric"
    complete.setdefault("reduce_range", complete["engine"] in _REDUCES_RANGE and not symmetric)
    if symmetric and complete["reduce_range"]:
        raise QuantizeError(
            "torch cannot reduce the range of symmetric activations: drop reduce_range, or use "
            "activations: quint8/affine"
        )
    if complete["weights"].endswith("/affine"):
        if complete["engine"] == "onednn":
            raise QuantizeError(
                "the engine onednn has no kernels for affine weights: use another engine, or weights: "
                f"{complete['weights'].removesuffix('/affine')}"
            )
        if complete["weight_observer"] == "mse":
            raise QuantizeError("weight_observer: mse looks for symmetric scales; use minmax")
    return complete


def equalised(
    module: nn.Module, options: Mapping[str, JsonValue], kept: Sequence[str]
) -> nn.Module:
    """An equalised copy of the float network where the options say so, else the network itself.

    Raises:
        QuantizeError: there is no pair of layers to equalise.
    """
    if EQUALIZE not in options["correct"]:
        return module
    from gate.quantize._torch_equalize import equalise

    copied = copy.deepcopy(module).eval()
    equalise(copied, leave=kept)
    return copied


def convert_corrected(
    prepared: nn.Module,
    *,
    observe: Callable[[nn.Module], None],
    convert: Callable[[nn.Module], Any],
    options: Mapping[str, JsonValue],
    seed: int,
) -> Any:
    """Observe, convert, and compensate the errors of the converted weights.

    Raises:
        QuantizeError: there is nothing to correct.
    """
    corrections = [name for name in (ROUND, BIAS) if name in options["correct"]]
    if not corrections:
        with quiet_torch_ao():
            observe(prepared)
        return convert(prepared)
    from gate.quantize._torch_adaround import round_learned
    from gate.quantize._torch_correct import Recorder, correct_biases

    with (
        quiet_torch_ao(),
        Recorder(prepared, rows=ROUND in corrections, seed=seed) as recorder,
    ):
        observe(prepared)
    converted = convert(prepared)
    layers = recorder.layers_of(converted)
    if not layers:
        raise QuantizeError(
            f"correct: {', '.join(corrections)}: no convolution or linear layer was quantized"
        )
    if ROUND in corrections:
        round_learned(layers, iterations=options["adaround_iterations"], seed=seed)
    if BIAS in corrections:
        correct_biases(layers)
    return converted
