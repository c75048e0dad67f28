"""Methods that choose among other quantizations: what they choose from, as the spec says it.

In a spec a quantization to choose from is the name of another one of the file, the name of a
method, or a mapping like those of ``quantizations``. In a ``Spec`` it is ``{name, method, options}``.
"""

from __future__ import annotations

from collections.abc import Mapping

from gate import plugins
from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec, QuantizationSpec, TargetSpec

NESTED: Mapping[str, str] = {"ladder": "rungs", "search": "of"}
"""Method that chooses -> the option that says among what."""

NEVER_CHOSEN = frozenset({*NESTED, "none"})
"""Methods that are no alternative: those that choose themselves, and float."""

NESTED_FORMAT = "quantization"
"""JSON Schema ``format`` of an option that is a quantization."""

DEFAULT_RUNGS: tuple[tuple[str, Mapping[str, JsonValue]], ...] = (
    ("torch-dynamic", {}),
    ("onnxruntime-dynamic", {}),
    ("tflite", {"mode": "dynamic"}),
    ("torch-fx-static", {}),
    ("onnxruntime-static", {}),
    ("tflite", {"mode": "int8"}),
    ("torch-qat", {}),
)
"""Method and options: dynamic, then static, then quantization-aware training. Those that the model's
source or the target leaves no way for are passed over: of a Keras model the two of tflite stay."""


def chooses(method: str) -> bool:
    """Whether a method chooses among others."""
    return method in NESTED


def resolved(name: str, method: str, options: JsonValue) -> dict[str, JsonValue]:
    """A quantization to choose from, as it stands in the options of a ``Spec``."""
    return {"name": name, "method": method, "options": options}


def alternatives(quantization: QuantizationSpec) -> tuple[QuantizationSpec, ...]:
    """What a ``ladder`` or ``search`` chooses from, in order; empty for any other method."""
    key = NESTED.get(quantization.method)
    if key is None:
        return ()
    given = quantization.options.get(key)
    if given is None:
        known = plugins.table("quantizers")
        given = [
            resolved(_told(method, options), method, dict(options))
            for method, options in DEFAULT_RUNGS
            if method in known
        ]
    return tuple(
        QuantizationSpec(name=one["name"], method=one["method"], options=one["options"])
        for one in (given if isinstance(given, list | tuple) else [given])
    )


def reads_calibration(quantization: QuantizationSpec) -> bool:
    """Whether an alternative needs calibration samples: without them it could never be made."""
    from gate.spec.formats import needs_calibration

    return any(needs_calibration(a.method, a.options) for a in alternatives(quantization))


def possible(
    model: ModelSpec, quantization: QuantizationSpec, target: TargetSpec
) -> tuple[QuantizationSpec, ...]:
    """The alternatives that the target can open."""
    from gate.spec.formats import mismatch

    return tuple(a for a in alternatives(quantization) if mismatch(model, a, target) is None)


def _told(method: str, options: Mapping[str, JsonValue]) -> str:
    """Names a default rung: ``tflite int8``."""
    return " ".join((method, *map(str, options.values())))
