"""What a spec could say instead of a pair that cannot exist: other backends, other methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gate import plugins
from gate.core.spec import ModelSpec, QuantizationSpec, TargetSpec
from gate.spec import choosing, formats, schema

_OWN = frozenset({"candidate", "python", *choosing.NEVER_CHOSEN})
"""Methods that are no answer to the question which method makes a candidate for a backend."""


def ways_out(
    model: ModelSpec, quantizations: Iterable[QuantizationSpec], targets: Iterable[TargetSpec]
) -> str:
    """Words for people: the backends that each of ``quantizations`` can run on, and the methods whose
    candidates each backend of ``targets`` opens. Empty where there is neither."""
    told: dict[str, None] = {}
    for quantization in quantizations:
        backends = _backends(model, quantization)
        if backends:
            told[f"{quantization.method} runs on {_either(backends)}"] = None
        if quantization.method == "python" and quantization.options.get("output") != "onnx":
            # What code of one's own makes is what the spec says that it makes.
            options = {**quantization.options, "output": "onnx"}
            if others := _backends(model, replace(quantization, options=options)):
                told[f"python with 'output: onnx' runs on {_either(others)}"] = None
    for target in targets:
        methods = _methods(model, target)
        if methods:
            told[f"{target.backend} runs {_either(methods)}"] = None
    return "; ".join(told)


def _backends(model: ModelSpec, quantization: QuantizationSpec) -> list[str]:
    def target(name: str) -> TargetSpec:
        return TargetSpec(name=name, backend=name, threads=1, dedicated=False, options={})

    known = plugins.table("backends")
    return [n for n in known if formats.mismatch(model, quantization, target(n)) is None]


def _methods(model: ModelSpec, target: TargetSpec) -> list[str]:
    native = QuantizationSpec(name="", method="", options={})
    found = []
    for name in plugins.table("quantizers"):
        if name in _OWN or schema.facts("quantizers", name)["produces"] is None:
            continue
        if formats.mismatch(model, replace(native, name=name, method=name), target) is None:
            found.append(name)
    return found


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
