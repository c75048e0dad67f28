"""Base of the methods that choose among others: ``gate.run.choose`` makes them explicit first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.core.spec import Options, QuantizationSpec, TargetSpec
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.spec.choosing import reads_calibration

if TYPE_CHECKING:
    from gate.models.base import LoadedModel


class ChoosingMethod:
    """Chooses in a run, and by itself makes nothing; see ``Quantizer``."""

    name: ClassVar[str]
    accepts: ClassVar[frozenset[Format]] = frozenset(Format)
    produces: ClassVar[Format | None] = None
    needs_calibration: ClassVar[bool] = False
    options_schema: ClassVar[Mapping[str, JsonValue]]
    """Has ``on``, the samples that are looked at: ``calibration`` or ``evaluation``."""
    _refusal: ClassVar[str]
    """Why it cannot work without a case, for the user."""

    def unavailable(self) -> str | None:
        """Nothing is needed but what the quantizers chosen among need, which is said in a run."""
        return None

    def calibrates(self, options: Options) -> bool:
        """Whether calibration samples are looked at, or what is chosen among needs them."""
        given = QuantizationSpec(name=self.name, method=self.name, options=options)
        on = with_defaults(options, self.options_schema)["on"]
        return bool(on == "calibration") or reads_calibration(given)

    def versions(self) -> Mapping[str, str]:
        """Nothing takes part but the quantizers chosen among."""
        return {}

    def quantize(
        self,
        model: LoadedModel,  # noqa: ARG002 - another quantizer makes the candidate
        calibration: CalibrationBatches | None,  # noqa: ARG002 - as above
        *,
        options: Options,  # noqa: ARG002 - as above
        target: TargetSpec,  # noqa: ARG002 - as above
        seed: int,  # noqa: ARG002 - as above
        out_dir: Path,  # noqa: ARG002 - as above
    ) -> Artifact:
        """Refuse: without a case there is nothing to choose by.

        Raises:
            QuantizeError: always.
        """
        raise QuantizeError(self._refusal)
