"""Options that say for which integer kernels of torch's engines activations are quantized."""

from __future__ import annotations

from collections.abc import Mapping

from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, TargetSpec
from gate.models.torch_runtime import ENGINES, engine_of
from gate.quantize.base import OptionsError

# Without VNNI the 16-bit sums of fbgemm's kernels saturate at full range; x86 may dispatch to them.
_REDUCES_RANGE = frozenset({"x86", "fbgemm"})

ACTIVATIONS_SCHEMA: Mapping[str, JsonValue] = {
    "enum": ["quint8/affine", "quint8/symmetric"],
    "default": "quint8/affine",
    "description": "symmetric puts the zero point at 128",
}
REDUCE_RANGE_SCHEMA: Mapping[str, JsonValue] = {
    "type": "boolean",
    "description": "affine activations in 7 bits; default true for engines x86 and fbgemm",
}
ENGINE_SCHEMA: Mapping[str, JsonValue] = {
    "enum": list(ENGINES),
    "description": "kernels to quantize for; default the target's engine",
}


def for_kernels(
    options: Options, schema: Mapping[str, JsonValue], target: TargetSpec
) -> dict[str, JsonValue]:
    """The options with their defaults, those that go by the target among them.

    Raises:
        OptionsError: activations that the engine cannot have.
    """
    complete = with_defaults(options, schema)
    complete.setdefault("engine", engine_of(target.options))
    symmetric = complete["activations"] == "quint8/symmetric"
    complete.setdefault("reduce_range", complete["engine"] in _REDUCES_RANGE and not symmetric)
    if symmetric and complete["reduce_range"]:
        raise OptionsError(
            "torch cannot reduce the range of symmetric activations: drop reduce_range, or use "
            "activations: quint8/affine",
            option="reduce_range",
        )
    return complete
