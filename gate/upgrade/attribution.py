"""Whose change it is: {old, new stack} x {stored candidate, candidate made anew} -> a cause. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.upgrade.apis import gone_api
from gate.upgrade.difference import Degree, candidate_difference, reference_difference


class Side(StrEnum):
    """Before or after the upgrade."""

    OLD = "old"
    NEW = "new"


class Origin(StrEnum):
    """Where the candidate of a cell comes from."""

    STORED = "stored"
    """Made by the old stack and kept: the accepted one."""
    MADE = "made"
    """Quantized anew by the stack that runs it."""


Cell = tuple[Side, Origin]


class Cause(StrEnum):
    """What an upgrade did to a case; several may hold at once."""

    UNCHANGED = "unchanged"
    KERNELS = "kernels changed"
    QUANTIZER = "quantizer changed"
    REFERENCE = "reference changed"
    CANNOT_RUN = "cannot run"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause and what it rests on."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What an upgrade did to one case."""

    case_id: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """Differences that change nothing (rounding, another file of the same function), and what stood
    for a candidate that is not at hand."""

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Causes in the order of the findings, each once."""
        return tuple(dict.fromkeys(finding.cause for finding in self.findings))


def attribute(case_id: str, cells: Mapping[Cell, CaseResult]) -> Attribution:
    """Compare the cells of a case.

    The kernels are judged by one candidate on two stacks, the quantizer by two candidates on the new
    stack, the reference by its outputs on two stacks. Cells that were not run are left out: with
    the same candidate in two of them, one run stands for both.
    """
    old = cells.get((Side.OLD, Origin.STORED)) or cells.get((Side.OLD, Origin.MADE))
    if old is None or old.observation is None:
        why = _why(old) if old is not None else "it was not run"
        finding = Finding(
            cause=Cause.NOT_COMPARED, detail=f"there is nothing to compare with: old stack: {why}"
        )
        return Attribution(case_id=case_id, findings=(finding,))
    findings, notes = list(_failures(cells)), []
    stored, made = cells.get((Side.NEW, Origin.STORED)), cells.get((Side.NEW, Origin.MADE))
    seen = [r.observation for r in (stored, made) if r is not None and r.observation is not None]
    if seen:
        moved = reference_difference(old.observation, seen[0])
        if moved.degree is Degree.CHANGED:
            findings.append(Finding(cause=Cause.REFERENCE, detail=moved.detail))
        elif moved.detail:
            notes.append(moved.detail)
    if stored is not None and stored.observation is not None:
        _compare(Cause.KERNELS, old.observation, stored.observation, findings, notes)
        if made is not None and made.observation is not None:
            _compare(Cause.QUANTIZER, stored.observation, made.observation, findings, notes)
    elif made is not None and made.observation is not None:
        moved = candidate_difference(old.observation, made.observation)
        if moved.degree is Degree.CHANGED:
            detail = f"kernels and quantizer cannot be told apart: {moved.detail}"
            findings.append(Finding(cause=Cause.NOT_COMPARED, detail=detail))
    if not findings:
        findings.append(Finding(cause=Cause.UNCHANGED, detail=""))
    return Attribution(case_id=case_id, findings=tuple(findings), notes=tuple(notes))


def _compare(
    cause: Cause,
    before: Observation,
    after: Observation,
    findings: list[Finding],
    notes: list[str],
) -> None:
    moved = candidate_difference(before, after)
    same_file = before.artifacts.get("candidate") == after.artifacts.get("candidate")
    if moved.degree is Degree.CHANGED:
        findings.append(Finding(cause=cause, detail=moved.detail))
    elif cause is Cause.QUANTIZER and not same_file:
        how = "the same function" if moved.degree is Degree.NONE else "the last digits apart"
        notes.append(f"the quantizer writes another file, {how}")
    elif moved.detail:
        notes.append(f"same candidate, other kernels: {moved.detail}")


def _failures(cells: Mapping[Cell, CaseResult]) -> Iterator[Finding]:
    for origin in Origin:
        result = cells.get((Side.NEW, origin))
        if result is not None and result.observation is None:
            what = "the stored candidate" if origin is Origin.STORED else "quantizing anew"
            yield Finding(cause=Cause.CANNOT_RUN, detail=f"{what}: {_why(result)}")


def _why(result: CaseResult) -> str:
    if result.skipped is not None:
        return f"skipped: {result.skipped}"
    failure = result.failure
    if failure is None:
        return "it left no result"
    gone = gone_api(f"{failure.message}\n{failure.last_output}")
    told = f"; {gone}" if gone is not None else ""
    return f"{failure.kind} in stage {failure.stage}: {failure.message.splitlines()[0]}{told}"
