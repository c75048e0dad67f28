"""What an update of a baseline would change, fact by fact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gate.core.baseline import Baseline
from gate.core.canonical import digest
from gate.core.status import Tier
from gate.judge.comparison import REFERENCE_SUBJECT
from gate.judge.contract import layer_changes
from gate.judge.improvement import NOISY_METRICS
from gate.metrics.catalogue import BY_NAME, Direction

_FLOOR = 0.05
_FLOOR_RELATIVE = 1e-3
_FLOOR_COSINE = 1e-2
_FLOOR_ROUNDING = 1e-7
"""Of a cosine in single precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """One metric of one subject; None where it is new or gone."""

    tier: Tier
    metric: str
    subject: str
    unit: str
    old: float | None
    new: float | None
    better: bool | None
    """None where neither is: new, gone, or the reference's own value."""

    @property
    def loosens(self) -> bool:
        """Whether it is worse by more than the last digits: 0.05 dB or pp, else 0.1 %; of a share at
        most 0.05 points, of a cosine at most 1 % of what it lacks of 1, which is as much as 0.05 dB."""
        if self.better is not False or self.noisy or self.old is None or self.new is None:
            return False
        floor = _FLOOR_RELATIVE * abs(self.old)
        if self.unit in {"dB", "pp"}:
            floor = _FLOOR
        elif self.metric == "cosine":
            floor = min(floor, max(_FLOOR_COSINE * (1.0 - self.old), _FLOOR_ROUNDING))
        elif self.unit == "%" and self.new < self.old:  # worse, and so a share: the more the better
            floor = min(floor, _FLOOR)
        return abs(self.new - self.old) > floor

    @property
    def noisy(self) -> bool:
        """Whether the metric changes from run to run by itself."""
        return self.metric in NOISY_METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class FactChange:
    """Something that is no metric: a layer, a digest, a version, the reference's pin."""

    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineDiff:
    """Old against new baseline of one case and environment class."""

    case_id: str
    environment_class: str
    first: bool
    """True where there was none before."""
    values: tuple[ValueChange, ...]
    layers: tuple[tuple[str, str], ...]
    """(layer, what changed)."""
    facts: tuple[FactChange, ...]

    @property
    def empty(self) -> bool:
        """Whether both say the same (provenance aside)."""
        return not (self.first or self.values or self.layers or self.facts)

    @property
    def only_noise(self) -> bool:
        """Whether nothing but what changes from run to run by itself has changed."""
        told = self.first or self.layers or self.facts
        return not told and all(change.noisy for change in self.values)

    @property
    def loosens(self) -> tuple[ValueChange, ...]:
        """Changes for the worse that noise does not explain: they are accepted by name."""
        return tuple(change for change in self.values if change.loosens)


def diff(old: Baseline | None, new: Baseline) -> BaselineDiff:
    """Compare two baselines of one case; ``old`` is None where there was none."""
    return BaselineDiff(
        case_id=new.case_id,
        environment_class=new.environment_class,
        first=old is None,
        values=tuple(_values(old, new)),
        layers=layer_changes(old.layers, new.layers) if old is not None else (),
        facts=tuple(_facts(old, new)) if old is not None else (),
    )


def _values(old: Baseline | None, new: Baseline) -> Iterator[ValueChange]:
    before = {(v.tier, v.metric, v.subject): v for v in (old.values if old is not None else ())}
    after = {(v.tier, v.metric, v.subject): v for v in new.values}
    for key in [*after, *(key for key in before if key not in after)]:
        then, now = before.get(key), after.get(key)
        unit = (now or then or new.values[0]).unit
        old_value = then.value if then is not None else None
        new_value = now.value if now is not None else None
        if old_value != new_value:
            yield ValueChange(
                tier=key[0],
                metric=key[1],
                subject=key[2],
                unit=unit,
                old=old_value,
                new=new_value,
                better=_better(key, old_value, new_value),
            )


def _better(key: tuple[Tier, str, str], old: float | None, new: float | None) -> bool | None:
    info = BY_NAME.get(key[:2])
    if old is None or new is None or info is None or key[2] == REFERENCE_SUBJECT:
        return None
    return new < old if info.direction is Direction.LOWER else new > old


def _facts(old: Baseline, new: Baseline) -> Iterator[FactChange]:
    before, after = dict(_fact_list(old)), dict(_fact_list(new))
    for what in sorted({*before, *after}):
        then, now = before.get(what, "absent"), after.get(what, "absent")
        if then != now:
            yield FactChange(what=what, old=then, new=now)


def _fact_list(baseline: Baseline) -> Iterator[tuple[str, str]]:
    environment = baseline.environment
    yield "spec digest", baseline.spec_digest
    yield "data digest", baseline.data_digest
    for what, told in baseline.scoring.items():
        yield f"scored by {what}", told
    for name, sha256 in baseline.artifacts.items():
        yield f"{name} SHA-256", sha256
    yield "processor", environment.cpu_model
    yield "engine", f"{environment.backend}/{environment.engine}"
    yield "threads", str(environment.threads)
    for name, version in environment.versions.items():
        yield f"version of {name}", version
    for metric, flips in baseline.flips.items():
        # The short digest: as many flips of other samples are a change too.
        told = digest([flips.lost, flips.gained])[:8]
        yield f"{metric} flips", f"{len(flips.lost)} lost, {len(flips.gained)} gained ({told})"
    if baseline.pin is not None:
        yield "reference output SHA-256", baseline.pin.output_sha256
        yield "reference sketch", "kept" if baseline.pin.sketch else "absent"
        yield "reference top-1 right", str(baseline.pin.top1_correct)
        yield "evaluation samples", str(baseline.pin.samples)
