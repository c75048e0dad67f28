"""Bounds that are out of the noise of healthy repeats and catch the most faults. Pure.

A tolerance is put on one axis, on which more is worse: what lies beyond the worst healthy value and
its band may be bounded. Of all bounds that catch as many faults as the tightest one would, the
loosest is proposed, a fifth of the gap before the nearest fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gate.core.case import Case
from gate.core.status import Tier
from gate.core.tolerance import Anchor, Op, SourcePosition, Tolerance
from gate.core.verdict import Measurement
from gate.drill.advice import MARGIN, UNSTEADY, offset_text, rounded
from gate.drill.noise import Infos, Noise, demanding, has_scale, infos_of, relative, worse_by
from gate.judge.device import TIME_METRICS
from gate.judge.tolerances import selects
from gate.metrics.catalogue import Direction, MetricInfo

OF_A_MACHINE = TIME_METRICS | {"peak_memory"}
"""What another machine changes as well: an absolute bound on it is a requirement, and stays."""
CLEAR = 0.25
"""A fault nearer to the noise than this part of a band is not bounded: it would be a matter of luck."""

Values = Sequence[Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one case: healthy values, their noise, and the values under each fault."""

    case: Case
    healthy: Values
    noise: Noise
    faults: Mapping[str, Values]
    """Effective faults alone: name -> what was measured."""
    uncaught: frozenset[str] = frozenset()
    """Of ``faults``, those that the spec as it is lets through."""

    @property
    def infos(self) -> Infos:
        """What is known of the case's metrics."""
        return infos_of(self.case)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Another bound for one tolerance of a spec, or a tolerance that is not there yet."""

    tier: Tier
    metric: str
    where: SourcePosition | None
    """Of the tolerance that is replaced; None where one is added."""
    old: str
    new: str
    caught_before: int
    """Faults, over all cases, that the old bound catches by itself."""
    caught_after: int
    faults: int
    """Faults that were measured under it."""
    looser: bool
    why: str


def proposals(evidence: Sequence[Evidence]) -> tuple[Proposal, ...]:
    """A proposal for every tolerance for which there is a better bound, in the order of the spec.

    Tolerances on metrics that are met or not, exact values (``==``), bounds counted from the
    reference, times, and absolute bounds on what a machine decides stay as they are, and so does
    what was not measured in the healthy run.
    """
    found = []
    for tolerance, sharing in _by_place(evidence):
        proposal = _propose(tolerance, sharing)
        if proposal is not None and proposal.new != proposal.old:
            found.append(proposal)
    return tuple(found)


def additions(
    evidence: Sequence[Evidence], demanded: Iterable[Proposal] = ()
) -> tuple[Proposal, ...]:
    """Tolerances that would catch what neither the spec nor ``demanded`` does, greedily: the metric
    that catches the most of it first."""
    left = {(one.case.id, name) for one in evidence for name in one.uncaught}
    for proposal in demanded:
        if proposal.where is not None:
            left -= _caught_by(proposal, evidence)
    added: list[Proposal] = []
    while left:
        best = max(
            (one for key in _metrics(evidence) if (one := _addition(key, evidence, left))),
            key=lambda pair: len(pair[1]),
            default=None,
        )
        if best is None:
            break
        added.append(best[0])
        left -= best[1]
    return tuple(added)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One tolerance's measurements as distances: more is worse, and the bound is one number."""

    tolerance: Tolerance
    info: MetricInfo

    def healthy(self, one: Evidence) -> Iterable[tuple[float, float]]:
        """(distance, band) of every subject, healthy."""
        for m in self._chosen(one.healthy):
            if m.value is None:
                continue
            band = one.noise.band(self.info, m.subject, m.value)
            yield (
                self.distance(m.value, m.value),
                100.0 * band / abs(m.value) if self._percent and m.value else band,
            )

    def fault(self, one: Evidence, name: str) -> float | None:
        """The largest distance of a fault's values; None where none of them has a value."""
        base = {m.subject: m.value for m in self._chosen(one.healthy)}
        found = [
            self.distance(start, m.value)
            for m in self._chosen(one.faults[name])
            if m.value is not None and (start := base.get(m.subject)) is not None
        ]
        return max(found, default=None)

    def distance(self, start: float, value: float) -> float:
        """Counted from the baseline, how much worse; else the value itself, its sign turned where
        more is better."""
        t = self.tolerance
        if t.anchor is Anchor.BASELINE:
            worse = worse_by(self.info, start, value)
            return 100.0 * worse / abs(start) if self._percent and start else worse
        return value if self.lower else -value

    @property
    def present(self) -> float:
        """The bound as it is."""
        return self.tolerance.value if self.lower else -self.tolerance.value

    def text(self, distance: float) -> str:
        """The tolerance with another bound."""
        t = self.tolerance
        if t.anchor is Anchor.BASELINE:
            return offset_text(self.info, distance, percent=self._percent)
        op = t.op if t.op in (Op.LT, Op.GT) else demanding(self.info)
        return f"{op} {distance if self.lower else -distance:.12g} {self.info.unit}".rstrip()

    @property
    def lower(self) -> bool:
        return self.info.direction is Direction.LOWER

    @property
    def _percent(self) -> bool:
        return self.tolerance.anchor is Anchor.BASELINE and self.tolerance.relative

    def _chosen(self, values: Values) -> Iterable[Measurement]:
        t = self.tolerance
        return (
            m
            for m in values
            if (m.tier, m.metric) == (t.tier, t.metric) and selects(t.subjects, m.subject)
        )


def _by_place(evidence: Sequence[Evidence]) -> list[tuple[Tolerance, list[Evidence]]]:
    """Every tolerance of a spec once, with the cases that demand it."""
    places: dict[str, tuple[Tolerance, list[Evidence]]] = {}
    for one in evidence:
        for tolerance in one.case.tolerances:
            if tolerance.where is not None:
                places.setdefault(str(tolerance.where), (tolerance, []))[1].append(one)
    return sorted(places.values(), key=lambda pair: _position(pair[0]))


def _position(tolerance: Tolerance) -> tuple[str, int, int]:
    where = tolerance.where
    return (where.file, where.line, where.column) if where is not None else ("", 0, 0)


def _propose(tolerance: Tolerance, sharing: Sequence[Evidence]) -> Proposal | None:
    info = sharing[0].infos[tolerance.tier, tolerance.metric]
    if not _tuned(tolerance, info):
        return None
    axis = _Axis(tolerance, info)
    healthy = [pair for one in sharing for pair in axis.healthy(one)]
    if not healthy:
        return None
    tightest = max(distance + band for distance, band in healthy)
    band = max(band for _, band in healthy)
    faults = [
        found
        for one in sharing
        for name in one.faults
        if (found := axis.fault(one, name)) is not None
    ]
    bound = _loosest(tightest, band, faults, axis)
    before = sum(distance > axis.present for distance in faults)
    if bound is None:
        # Nothing can be caught beyond the noise; the bound is only wrong where it is inside it.
        if axis.present >= tightest:
            return None
        bound = _tidy(tightest, tightest + band)
    after = sum(distance > bound for distance in faults)
    looser = bound > axis.present
    if looser and axis.present >= tightest and after <= before:
        return None  # looser, and nothing is gained by it
    why = (
        f"the present bound is inside the noise of healthy repeats (by {tightest - axis.present:.3g})"
        if axis.present < tightest
        else f"catches {after} of {len(faults)} faults by itself, {before} as it is"
    )
    return Proposal(
        tier=tolerance.tier,
        metric=tolerance.metric,
        where=tolerance.where,
        old=tolerance.text,
        new=axis.text(bound),
        caught_before=before,
        caught_after=after,
        faults=len(faults),
        looser=looser,
        why=why,
    )


def _tuned(tolerance: Tolerance, info: MetricInfo) -> bool:
    """Whether another bound could be better for what was measured alone."""
    if info.unit == "bool" or tolerance.op is Op.EQ or tolerance.anchor is Anchor.REFERENCE:
        return False
    if tolerance.anchor is Anchor.ABSOLUTE and info.name in OF_A_MACHINE:
        return False
    return has_scale(info) and info.name not in UNSTEADY


def _loosest(tightest: float, band: float, faults: Sequence[float], axis: _Axis) -> float | None:
    """The loosest bound that catches what the tightest one would, with a margin; None where nothing is."""
    caught = [distance for distance in faults if distance > tightest + CLEAR * band]
    if not caught:
        return None
    nearest = min(caught)
    if tightest <= axis.present < nearest:
        return axis.present  # as good as any: no change for its own sake
    return _tidy(tightest, tightest + MARGIN * (nearest - tightest))


def _tidy(low: float, high: float) -> float:
    """The number of fewest digits in [low, high], the largest of these."""
    for digits in range(17):
        scale = 10.0 ** (digits - math.floor(math.log10(max(abs(low), abs(high), 1e-300))))
        found = math.floor(high * scale + 1e-9) / scale
        if low <= found <= high:
            return float(f"{found:.15g}")
    return high


def _metrics(evidence: Sequence[Evidence]) -> list[tuple[Tier, str]]:
    return list(
        dict.fromkeys(
            (m.tier, m.metric)
            for one in evidence
            for m in one.healthy
            if m.unit != "bool"
            and m.metric not in UNSTEADY
            and has_scale(one.infos[m.tier, m.metric])
        )
    )


def _addition(
    key: tuple[Tier, str], evidence: Sequence[Evidence], left: set[tuple[str, str]]
) -> tuple[Proposal, set[tuple[str, str]]] | None:
    """A bound on a metric, counted from the baseline, and what of ``left`` it catches."""
    tier, metric = key
    sharing = [one for one in evidence if key in one.infos]
    info = sharing[0].infos[key]
    percent = relative(info)
    draft = Tolerance(
        tier=tier,
        metric=metric,
        op=demanding(info),
        anchor=Anchor.BASELINE,
        value=0.0,
        relative=percent,
        text="",
    )
    axis = _Axis(draft, info)
    bands = [band for one in sharing for _, band in axis.healthy(one)]
    if not bands:
        return None
    band = max(bands)
    distances = {
        (one.case.id, name): found
        for one in sharing
        for name in one.faults
        if (one.case.id, name) in left and (found := axis.fault(one, name)) is not None
    }
    caught = {key: d for key, d in distances.items() if d > band * (1.0 + CLEAR)}
    if not caught:
        return None
    nearest = min(caught.values())
    bound = rounded(band + MARGIN * (nearest - band), least=band)
    proposal = Proposal(
        tier=tier,
        metric=metric,
        where=None,
        old="",
        new=axis.text(bound),
        caught_before=0,
        caught_after=len(caught),
        faults=len(distances),
        looser=False,
        why=f"catches {len(caught)} of {len(left)} faults that slip through",
    )
    return proposal, set(caught)


def _caught_by(proposal: Proposal, evidence: Sequence[Evidence]) -> set[tuple[str, str]]:
    """Which faults a changed bound catches; parsed from its own text, as the gate will read it."""
    from gate.spec.grammar import parse_bound

    caught = set()
    for one in evidence:
        for tolerance in one.case.tolerances:
            if tolerance.where != proposal.where:
                continue
            info = one.infos[proposal.tier, proposal.metric]
            bound, axis = parse_bound(proposal.new, info), _Axis(tolerance, info)
            sign = 1.0 if axis.lower else -1.0
            for name in one.faults:
                distance = axis.fault(one, name)
                if distance is not None and distance > sign * bound.value:
                    caught.add((one.case.id, name))
    return caught
