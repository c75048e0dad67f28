"""How far a model moves when it is converted."""

from __future__ import annotations

from collections.abc import Callable

from gate import plugins
from gate.backends.base import Backend
from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.spec import TargetSpec
from gate.core.tensors import TensorMap
from gate.metrics.accumulate import ErrorAccumulator
from gate.metrics.elementwise import relative_mse_percent
from gate.models.base import LoadedModel, ModelError
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.identity import gate_sources
from gate.run.prepare import Prepared, native_target
from gate.run.reference import LazySession

KIND = "conversion-error"


def conversion_error(
    case: Case,
    prepared: Prepared,
    reference: LazySession,
    *,
    inputs: Callable[[], TensorMap],
    key: Callable[[LoadedModel, TargetSpec], dict[str, JsonValue]],
    cache: Cache,
    announcer: Announcer,
    notes: list[str],
) -> float | None:
    """Relative MSE in per cent of the reference's form against the model as its source gave it, the
    worst output's, on a few samples; None where the two are one.

    Args:
        inputs: the samples.
        key: what decides a model's outputs on a target.

    Raises:
        ModelError: the two cannot be compared.
    """
    native = prepared.native
    if prepared.reference.sha256 == native.sha256:
        return None
    home = native_target(native.format, case.target)
    parts: dict[str, JsonValue] = {
        "native": key(native, home),
        "form": key(prepared.reference, prepared.reference_target),
        "gate": gate_sources("run", "metrics"),
    }
    with cache.slot(KIND, parts) as slot:
        if slot.damage is not None:
            notes.append(slot.damage)
        announcer.cache(KIND, hit=slot.entry is not None)
        entry = slot.entry
        if entry is None:
            samples = inputs()
            backend: Backend = plugins.load("backends", home.backend)
            with backend.open_reference(native, target=home) as session:
                before = session.run(samples)
            slot.staging()
            entry = slot.commit({"percent": worst_error(before, reference.session.run(samples))})
    percent = entry.meta["percent"]
    if percent is None:
        raise ModelError(
            f"{native.spec.id}: converted to {prepared.reference.format}, the model gives outputs"
            " of other names, shapes or finiteness; export it by hand and use source: onnx"
        )
    return float(percent)


def worst_error(before: TensorMap, after: TensorMap) -> float | None:
    """Largest relative MSE in per cent over all outputs; None where they cannot be compared."""
    if len(before) == len(after) == 1:
        after = dict(zip(before, after.values(), strict=True))
    if set(before) != set(after):
        return None
    worst = 0.0
    for name, x in before.items():
        if x.shape != after[name].shape:
            return None
        errors = ErrorAccumulator(None)
        errors.update(x, after[name])
        percent = relative_mse_percent(errors.sums())
        if percent is None:
            return None
        worst = max(worst, percent)
    return worst
