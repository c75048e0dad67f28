"""The cheapest of several quantizations that holds the tolerances of its case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from gate.core.canonical import JsonValue
from gate.quantize._choosing import ChoosingMethod
from gate.spec.choosing import NESTED_FORMAT


class Ladder(ChoosingMethod):
    """Rungs are tried in order by ``gate.run.choose``, which knows the tolerances; what makes the
    candidate in the end is the quantizer of the chosen rung, and the file names that as its producer."""

    name = "ladder"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "rungs": {
                "type": "array",
                "minItems": 1,
                "items": {"format": NESTED_FORMAT},
                "description": "Cheapest first: names of quantizations of this spec, methods, or"
                " mappings with a method; left out: dynamic, static and quantization-aware training,"
                " as far as the target opens what they make.",
            },
            "on": {
                "enum": ["evaluation", "calibration"],
                "default": "evaluation",
                "description": "Samples on which a rung has to hold the tolerances.",
            },
        },
    }
    _refusal = "a ladder chooses by the tolerances of a case: use it in a spec"
