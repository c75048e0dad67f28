"""Specs -> plan: include and exclude, formats that cannot meet, overrides, selection, fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product

from gate.core.case import Case, NotApplicable, Plan
from gate.core.findings import FINDINGS
from gate.core.probes import ProbeSpec
from gate.core.spec import Override, QuantizationSpec, Spec, TargetSpec
from gate.core.status import Tier
from gate.core.tolerance import Tolerance
from gate.spec import formats
from gate.spec.choosing import chooses
from gate.spec.diagnostics import did_you_mean
from gate.spec.probes import in_order
from gate.spec.ways_out import ways_out

Pair = tuple[QuantizationSpec, TargetSpec]


LEFT_OUT = "the spec's matrix leaves it out"
"""Of a pair that could exist."""


class SelectError(Exception):
    """A selection that selects nothing; the message is for the user."""


def plan(specs: Sequence[Spec], select: Sequence[str] = ()) -> Plan:
    """Expand ``specs`` into cases, in the order of specs, quantizations and targets as written.

    Args:
        specs: specs with distinct ids.
        select: globs over case ids; a case is kept where any matches. All are kept where empty.

    Raises:
        SelectError: a glob that matches no case.
    """
    cases: list[Case] = []
    others: list[NotApplicable] = []
    for spec in specs:
        for quantization, target in product(spec.quantizations, spec.targets):
            reason = formats.mismatch(spec.model, quantization, target)
            if not _wanted(spec, quantization, target):
                if reason is not None:
                    continue
                reason = LEFT_OUT
            if reason is not None:
                others.append(NotApplicable(id=case_id(spec, quantization, target), reason=reason))
            else:
                cases.append(make_case(spec, quantization, target))
    if select:
        _check_selection(specs, select, cases, others)
    return Plan(
        cases=tuple(case for case in cases if _selected(case.id, select)),
        not_applicable=tuple(other for other in others if _selected(other.id, select)),
    )


def case_id(spec: Spec, quantization: QuantizationSpec, target: TargetSpec) -> str:
    """``<spec>/<quantization>@<target>``."""
    return f"{spec.id}/{quantization.name}@{target.name}"


def wanted_pairs(spec: Spec) -> Iterator[Pair]:
    """Pairs that ``matrix`` leaves, in order."""
    for quantization, target in product(spec.quantizations, spec.targets):
        if _wanted(spec, quantization, target):
            yield quantization, target


def _wanted(spec: Spec, quantization: QuantizationSpec, target: TargetSpec) -> bool:
    names = (quantization.name, target.name)
    included = not spec.include or any(matches(names, globs) for globs in spec.include)
    return included and not any(matches(names, globs) for globs in spec.exclude)


def matches(names: tuple[str, str], globs: tuple[str, str]) -> bool:
    """True where the quantization's and the target's names match their globs."""
    return fnmatchcase(names[0], globs[0]) and fnmatchcase(names[1], globs[1])


def overrides_of(spec: Spec, quantization: str, target: str) -> list[Override]:
    """Overrides that hold for a pair, in order."""
    names = (quantization, target)
    return [o for o in spec.overrides if matches(names, (o.quantization, o.target))]


def demanded(
    tolerances: tuple[Tolerance, ...], overrides: Sequence[Override]
) -> tuple[Tolerance, ...]:
    """``tolerances`` with ``overrides`` applied in order: each first drops, then replaces those of the
    same tier, metric and subjects, in their place, or adds."""
    result = list(tolerances)
    for override in overrides:
        result = [t for t in result if f"{t.tier}.{t.metric}" not in override.drop]
        groups: dict[tuple[str, str, str | None], list[Tolerance]] = {}
        for tolerance in override.tolerances:
            groups.setdefault(_identity(tolerance), []).append(tolerance)
        for identity, group in groups.items():
            places = [index for index, t in enumerate(result) if _identity(t) == identity]
            place = places[0] if places else len(result)
            result = [t for t in result if _identity(t) != identity]
            result[place:place] = group
    return tuple(result)


def probes_of(spec: Spec, overrides: Sequence[Override]) -> tuple[ProbeSpec, ...]:
    """The spec's probes with ``overrides`` applied in order, in the order in which they run."""
    found = {probe.name: probe for probe in spec.probes}
    for override in overrides:
        for name in override.drop:
            found.pop(name.removeprefix(f"{Tier.NUMERICAL}.probe."), None)
        found.update((probe.name, probe) for probe in override.probes)
    return in_order(found.values())


def make_case(spec: Spec, quantization: QuantizationSpec, target: TargetSpec) -> Case:
    """The case of one pair, with everything that a worker and the judge need."""
    overrides = overrides_of(spec, quantization.name, target.name)
    expected = next((o for o in reversed(overrides) if o.expect_fail), None)
    return Case(
        id=case_id(spec, quantization, target),
        spec_id=spec.id,
        spec_path=spec.path,
        spec_digest=spec.digest,
        model=spec.model,
        data=spec.data,
        quantization=quantization,
        target=target,
        tolerances=(tolerances := demanded(spec.tolerances, overrides)),
        chosen_by=tolerances if chooses(quantization.method) else (),
        run=spec.run,
        requires=spec.requires,
        baseline_policy=spec.baseline_policy,
        expected_failure=expected.because if expected is not None else None,
        expected_metrics=expected.expect_metrics if expected is not None else (),
        dropped=tuple(dict.fromkeys(n for o in overrides for n in o.drop if n in FINDINGS)),
        probes=probes_of(spec, overrides),
        comparability=spec.comparability,
        on_improvement=spec.on_improvement,
        metrics=spec.metrics,
        stand_in=spec.stand_in,
    )


def _identity(tolerance: Tolerance) -> tuple[str, str, str | None]:
    return tolerance.tier, tolerance.metric, tolerance.subjects


def _selected(name: str, select: Sequence[str]) -> bool:
    return not select or any(fnmatchcase(name, glob) for glob in select)


def _check_selection(
    specs: Sequence[Spec],
    select: Sequence[str],
    cases: Sequence[Case],
    others: Sequence[NotApplicable],
) -> None:
    for glob in select:
        if any(fnmatchcase(case.id, glob) for case in cases):
            continue
        other = next((other for other in others if fnmatchcase(other.id, glob)), None)
        if other is not None:
            if other.reason == LEFT_OUT:
                raise SelectError(f"'{glob}' selects no case: {other.id}: {other.reason}")
            hint = _hint(specs, other.id)
            raise SelectError(
                f"'{glob}' selects no case: {other.id} cannot exist: {other.reason}{hint}"
            )
        near = did_you_mean(glob, [case.id for case in cases])
        hint = near or "'gate plan' lists the cases; globs cover the whole id, as in 'digits*/*'"
        raise SelectError(f"'{glob}' selects no case ({hint})")


def _hint(specs: Sequence[Spec], pair: str) -> str:
    """What could run in place of a pair that cannot."""
    for spec in specs:
        for quantization, target in wanted_pairs(spec):
            if case_id(spec, quantization, target) == pair:
                found = ways_out(spec.model, [quantization], [target])
                return f" ({found})" if found else ""
    return ""
