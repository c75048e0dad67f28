"""A recorded observation of an accepted candidate, with provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.environment import Comparability, Environment
from gate.core.flipped import Flipped
from gate.core.layer import QParams, TensorInfo
from gate.core.observation import ReferencePin
from gate.core.status import Tier

BASELINE_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineValue:
    """One accepted measurement, in the metric's unit."""

    tier: Tier
    metric: str
    subject: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineLayer:
    """How one layer of the accepted candidate was built."""

    name: str
    op: str
    quantized: bool
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weight_scheme: str | None
    weight_dtype: str | None
    output_qparams: QParams | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who accepted it, when and why."""

    reason: str
    commit: str
    author: str
    date: str
    """ISO 8601, UTC."""
    gate_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What ``baselines/<spec>/<quantization>@<target>/<environment class>.json`` holds."""

    schema: int = BASELINE_SCHEMA
    case_id: str
    environment: Environment
    spec_digest: str
    data_digest: str
    artifacts: Mapping[str, str]
    pin: ReferencePin | None
    values: tuple[BaselineValue, ...]
    layers: tuple[BaselineLayer, ...]
    provenance: Provenance
    comparability: Comparability = field(default_factory=Comparability)
    """The spec's rule when it was recorded: under it, ``environment`` has the class that names the
    file."""
    flips: Mapping[str, Flipped] = field(default_factory=dict)
    """``top1`` and ``top5``: the samples that flipped; empty without labels, and in older files."""
    scoring: Mapping[str, str] = field(default_factory=dict)
    """``Case.scoring`` when it was recorded; empty in older files, which do not tell."""

    @property
    def environment_class(self) -> str:
        """Name of the class of environments that it is compared within."""
        return self.comparability.class_of(self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineFound:
    """A baseline of the same case and environment class."""

    baseline: Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineMissing:
    """No baseline of this case in any environment class."""

    path: str
    """Where it would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineNotComparable:
    """There are baselines of this case, none of this environment class."""

    reason: str
    """What differs, for people."""
    rule_changed: bool = False
    """True where one was recorded here under another rule of what is comparable: not the machine
    changed, but the spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineBroken:
    """A file that is corrupt, was edited by hand, or belongs to another case."""

    path: str
    reason: str
    """What is wrong and the way out."""


BaselineLookup = BaselineFound | BaselineMissing | BaselineNotComparable | BaselineBroken
