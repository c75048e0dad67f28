"""The cheapest of several quantizations that holds the tolerances of its case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.spec import Options, QuantizationSpec, TargetSpec
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.spec.choosing import NESTED_FORMAT, reads_calibration

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


class Ladder:
    """Rungs are tried in order by ``gate.run.choose``, which knows the tolerances; what makes the
    candidate in the end is the quantizer of the chosen rung, and the file names that as its producer."""

    name: ClassVar[str] = "ladder"
    accepts: ClassVar[frozenset[Format]] = frozenset(Format)
    produces: ClassVar[Format | None] = None
    needs_calibration: ClassVar[bool] = False
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

    def unavailable(self) -> str | None:
        """Nothing is needed; a rung that cannot work here is passed over, and said."""
        return None

    def calibrates(self, options: Options) -> bool:
        """Whether a rung needs calibration samples, or they are what rungs are judged on."""
        given = QuantizationSpec(name=self.name, method=self.name, options=options)
        return options.get("on") == "calibration" or reads_calibration(given)

    def versions(self) -> Mapping[str, str]:
        """Nothing takes part but the quantizers of the rungs."""
        return {}

    def quantize(
        self,
        model: LoadedModel,  # noqa: ARG002 - a rung's own quantizer makes the candidate
        calibration: CalibrationBatches | None,  # noqa: ARG002 - as above
        *,
        options: Options,  # noqa: ARG002 - as above
        target: TargetSpec,  # noqa: ARG002 - as above
        seed: int,  # noqa: ARG002 - as above
        out_dir: Path,  # noqa: ARG002 - as above
    ) -> Artifact:
        """Refuse: without the tolerances of a case there is nothing to choose by.

        Raises:
            QuantizeError: always.
        """
        raise QuantizeError("a ladder chooses by the tolerances of a case: use it in a spec")
