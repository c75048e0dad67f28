"""Whether a quantization and a target can meet: by the model formats on the way, without running."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import cast

from gate import plugins
from gate.core.artifact import Format
from gate.core.spec import ModelSpec, QuantizationSpec, TargetSpec

_CONVERTIBLE = "gate.models.conversions:convertible"
"""By name, like the plugins: the stations that spec feeds are not imported here."""


@cache
def _convertible() -> Callable[[Format, Format], bool]:
    module, _, attribute = _CONVERTIBLE.partition(":")
    return cast(
        "Callable[[Format, Format], bool]", getattr(importlib.import_module(module), attribute)
    )


def needs_calibration(method: str) -> bool:
    """True where the quantizer reads calibration samples."""
    try:  # TEMPORARY
        plugins.load("quantizers", method)
    except ModuleNotFoundError:
        return False
    return bool(plugins.load("quantizers", method).needs_calibration)


def mismatch(model: ModelSpec, quantization: QuantizationSpec, target: TargetSpec) -> str | None:
    """Why the pair cannot exist; None where it can.

    The source's format must be one that the quantizer accepts, or convertible into one; what the
    quantizer writes must be one that the backend opens. A quantizer that does not fix its format may
    say it by ``output_format(options, source_format)``; else (``none``) the model is kept or converted
    to what the backend opens.
    """
    try:
        return _mismatch(model, quantization, target)
    except ModuleNotFoundError:  # TEMPORARY while plugins are being written
        return None


def _mismatch(model: ModelSpec, quantization: QuantizationSpec, target: TargetSpec) -> str | None:
    native: Format = plugins.load("sources", model.source).produces
    quantizer = plugins.load("quantizers", quantization.method)
    opens: frozenset[Format] = plugins.load("backends", target.backend).formats
    if _reach(native, quantizer.accepts) is None:
        return (
            f"{quantization.method} accepts {_names(quantizer.accepts)}, "
            f"and the {native} of the source {model.source} cannot be converted"
        )
    written: Format | None = quantizer.produces
    if written is None and hasattr(quantizer, "output_format"):
        written = quantizer.output_format(quantization.options, native)
    if written is None:
        if _reach(native, opens) is not None:
            return None
        return (
            f"{target.backend} opens {_names(opens)}, "
            f"and the {native} of the source {model.source} cannot be converted"
        )
    if written in opens:
        return None
    return f"{quantization.method} writes {written}, {target.backend} opens {_names(opens)}"


def _reach(source: Format, wanted: frozenset[Format]) -> Format | None:
    """``source`` itself where wanted, else a wanted format that it converts into."""
    if source in wanted:
        return source
    return next((to for to in sorted(wanted) if _convertible()(source, to)), None)


def _names(formats: frozenset[Format]) -> str:
    return " or ".join(sorted(formats)) or "no file"
