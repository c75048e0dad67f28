"""One (model, quantization, target) of a spec: what runs, what is judged, what a baseline belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.core.canonical import digest
from gate.core.convert import to_plain
from gate.core.environment import Comparability
from gate.core.probes import ProbeSpec
from gate.core.spec import (
    DataSpec,
    ModelSpec,
    QuantizationSpec,
    Requirements,
    RunSpec,
    StandIn,
    TargetSpec,
)
from gate.core.status import Tier
from gate.core.task import CUSTOM, CustomMetric
from gate.core.tolerance import Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Self-contained: a worker and the judge need no spec file beside it."""

    id: str
    """``<spec id>/<quantization>@<target>``."""
    spec_id: str
    spec_path: str
    spec_digest: str
    model: ModelSpec
    data: DataSpec
    quantization: QuantizationSpec
    target: TargetSpec
    tolerances: tuple[Tolerance, ...]
    run: RunSpec
    requires: Requirements
    baseline_policy: str
    expected_failure: str | None = None
    expected_metrics: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    """Findings (``tier.rule``) that an override drops."""
    probes: tuple[ProbeSpec, ...] = ()
    comparability: Comparability = field(default_factory=Comparability)
    stand_in: StandIn | None = None
    """Which of the two ran, where the spec declares a stand-in; else None."""
    chosen_by: tuple[Tolerance, ...] = ()
    """All tolerances of the case, for a method that chooses by them: a run of some tiers, in which
    ``tolerances`` are fewer, takes the same recipe. Empty for any other method."""
    on_improvement: str = "fail"
    """``fail`` or ``note``: what being better than the baseline by more than its band comes to."""
    metrics: tuple[CustomMetric, ...] = ()
    """Metrics of the user's own."""

    @property
    def scoring(self) -> Mapping[str, str]:
        """What else but data and models decides its values: ``task`` in words, SHA-256 of the declared
        ``decoding``, and of each metric of the user's own. The code of an entry is not followed."""
        custom = {f"{CUSTOM}{one.name}": digest(to_plain(one)) for one in self.metrics}
        return {"task": self.model.task, "decoding": digest(dict(self.model.decoding)), **custom}

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Tiers in which something is demanded, in order."""
        wanted = {tolerance.tier for tolerance in self.tolerances}
        if self.probes:
            wanted.add(Tier.NUMERICAL)
        return tuple(tier for tier in Tier if tier in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplicable:
    """A pair that cannot exist, or that the spec leaves out, with the reason: said in the plan, never
    dropped silently."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All cases of all specs, expanded and selected, in a fixed order (spec, quantization, target)."""

    cases: tuple[Case, ...]
    not_applicable: tuple[NotApplicable, ...] = ()
