"""Hostile probes: inputs and ways of running that ordinary samples do not cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.layer import ErrorSums
from gate.core.tolerance import Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInfo:
    """One kind of probe."""

    name: str
    summary: str
    bounds: Mapping[str, str]
    """Metric of the numerical tier -> bound that holds where the spec gives none. Healthy candidates
    differ widely in what they make of a grey image, so these find what is broken, no more; measure a
    model's own and say them in its spec."""
    itself: bool = False
    """True where the candidate is compared with itself, run in another way, instead of with the
    reference: an answer must not depend on how it was asked for."""


def _table(*infos: ProbeInfo) -> Mapping[str, ProbeInfo]:
    return {info.name: info for info in infos}


PROBES = _table(
    ProbeInfo(
        name="zeros",
        summary="every input zero",
        bounds={"sqnr": ">= -6 dB"},
    ),
    ProbeInfo(
        name="constant",
        summary="every element of a sample the same, from the lowest to the highest value seen",
        bounds={"sqnr": ">= -6 dB"},
    ),
    ProbeInfo(
        name="denormals",
        summary="floating-point inputs below the smallest normal number",
        bounds={"sqnr": ">= -6 dB"},
    ),
    ProbeInfo(
        name="borders",
        summary="one hot corner or edge on an empty image",
        bounds={"sqnr": ">= -6 dB"},
    ),
    ProbeInfo(
        name="extremes",
        summary="elements at the two ends of the calibrated range, in patterns and at random",
        bounds={"sqnr": ">= -3 dB"},
    ),
    ProbeInfo(
        name="saturating",
        summary=(
            "the evaluation samples four times as large, against the reference with or without "
            "clipping to once or twice the calibrated range, whichever is nearest"
        ),
        bounds={"sqnr": ">= -3 dB"},
    ),
    ProbeInfo(
        name="batch",
        summary="the same samples one at a time, in threes and in the evaluated batch",
        bounds={"sqnr": ">= 30 dB"},
        itself=True,
    ),
    ProbeInfo(
        name="channels_last",
        summary="the same samples with their channels last in memory",
        bounds={"sqnr": ">= 30 dB"},
        itself=True,
    ),
    ProbeInfo(
        name="smallest",
        summary="the smallest shape that the inputs' dynamic axes declare",
        bounds={"sqnr": ">= 0 dB"},
    ),
    ProbeInfo(
        name="largest",
        summary="the largest shape that the inputs' dynamic axes declare",
        bounds={"sqnr": ">= 0 dB"},
    ),
)
"""In the order in which they run."""

PROBE_METRICS = ("sqnr", "max_abs_error")
"""Metrics of the numerical tier that a probe may be bounded by. The signal of the SQNR is the larger
of the probe's own and the evaluation samples': an answer near zero to an empty image is no reason
for an error to be small beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """One probe that a spec asks for."""

    name: str
    bounds: tuple[Tolerance, ...]
    """Absolute bounds on metrics of the numerical tier, of every output."""

    @property
    def rule(self) -> str:
        """Name of its checks."""
        return f"probe.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeObserved:
    """What one probe came to. Outputs that fit are compared; everything else is told in words."""

    name: str
    detail: str = ""
    """What was fed, for people."""
    samples: int = 0
    outputs: Mapping[str, ErrorSums] = field(default_factory=dict)
    """Reference against candidate; of a probe that compares the candidate with itself, the
    evaluated way of running against the other one."""
    own: Mapping[str, ErrorSums] = field(default_factory=dict)
    """Of such a probe: the same of the reference with itself."""
    alone: Mapping[str, ErrorSums] = field(default_factory=dict)
    """Of the probe ``batch``, where the candidate's outputs differ: layer -> its output for one sample
    in company against that for the same sample alone."""
    not_applicable: str = ""
    """Why it has no meaning here."""
    refused_by_both: str = ""
    """Why neither side takes it."""
    reference_fault: str = ""
    """Why the reference alone does not take it."""
    candidate_fault: str = ""
    """What the candidate alone does: refuse, crash, or answer in other names or shapes."""
