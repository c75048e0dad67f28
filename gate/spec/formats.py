"""Whether a quantization and a target can meet: by the model formats on the way, without running."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gate import plugins
from gate.core.artifact import Format
from gate.core.spec import ModelSpec, Options, QuantizationSpec, TargetSpec
from gate.spec import choosing, schema


def needs_calibration(method: str, options: Options) -> bool:
    """True where the quantizer reads calibration samples: always, or, where it says so by
    ``calibrates(options)``, with these options."""
    if schema.facts("quantizers", method)["needs_calibration"]:
        return True
    quantizer: Any = plugins.load("quantizers", method)
    return hasattr(quantizer, "calibrates") and bool(quantizer.calibrates(options))


def mismatch(model: ModelSpec, quantization: QuantizationSpec, target: TargetSpec) -> str | None:
    """Why the pair cannot exist; None where it can.

    The source's format must be one that the quantizer accepts, or convertible into one; what the
    quantizer writes must be one that the backend opens. A quantizer that does not fix its format may
    say it by ``output_format(options, source_format)``; else (``none``) the model is kept or converted
    to what the backend opens. A method that chooses among others needs one of them that can.
    """
    if choosing.chooses(quantization.method):
        reasons = [mismatch(model, one, target) for one in choosing.alternatives(quantization)]
        return None if None in reasons else "; ".join(dict.fromkeys(r for r in reasons if r))
    native: str = schema.facts("sources", model.source)["produces"]
    quantizer = schema.facts("quantizers", quantization.method)
    opens: list[str] = schema.facts("backends", target.backend)["formats"]
    cannot = f"and the {native} of the source {model.source} cannot be converted"
    if not _reaches(native, quantizer["accepts"]):
        return f"{quantization.method} accepts {_names(quantizer['accepts'])}, {cannot}"
    written = quantizer["produces"] or _output_format(quantization, native)
    if written is None:
        return (
            None if _reaches(native, opens) else f"{target.backend} opens {_names(opens)}, {cannot}"
        )
    if written in opens:
        # The reference runs where the candidate does.
        other = (
            f"the reference is compared with it on {target.backend}, which opens {_names(opens)}"
        )
        return None if _reaches(native, opens) else f"{other}, {cannot}"
    return f"{quantization.method} writes {written}, {target.backend} opens {_names(opens)}"


def _output_format(quantization: QuantizationSpec, native: str) -> str | None:
    quantizer: Any = plugins.load("quantizers", quantization.method)
    if not hasattr(quantizer, "output_format"):
        return None
    found: Format | None = quantizer.output_format(quantization.options, Format(native))
    return None if found is None else found.value


def _reaches(native: str, wanted: Collection[str]) -> bool:
    """True where a model in the format ``native`` is, or converts into, one of ``wanted``."""
    return native in wanted or any(to in wanted for to in schema.conversions()[native])


def _names(formats: Collection[str]) -> str:
    return " or ".join(sorted(formats)) or "no file"
