"""From a plan to the runs of a drill: which cases, which faults, which tolerances. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from gate.core.case import Case, NotApplicable, Plan
from gate.core.status import Tier
from gate.drill.base import Fault
from gate.drill.catalogue import FAULTS
from gate.drill.mutator import FACTORY
from gate.metrics.catalogue import CATALOGUE
from gate.run.mutation import Mutation

MARK = "!"
"""Between a case's id and the name of the fault, in the id of a mutated run."""

UNTIMED = frozenset(
    {"top1", "top5", "top1_drop", "top5_drop", "new_flips", "size", "size_ratio"}
) | {info.name for info in CATALOGUE if info.tasks}
"""Device metrics that need neither a clock nor a process of their own."""
TIMED = frozenset(
    info.name for info in CATALOGUE if info.tier is Tier.DEVICE and info.name not in UNTIMED
)


class FaultSelectError(ValueError):
    """A glob that names no fault; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutatedRun:
    """One fault in one case."""

    case: Case
    """Under its own id, with the tolerances by which the run is judged."""
    fault: Fault
    mutation: Mutation

    @property
    def run_id(self) -> str:
        """Id under which it runs: results, logs and progress of all faults stay apart."""
        return f"{self.case.id}{MARK}{self.fault.name}"

    @property
    def run_case(self) -> Case:
        """What the engine runs."""
        return replace(self.case, id=self.run_id)


def select_faults(globs: Sequence[str]) -> tuple[Fault, ...]:
    """Faults of the catalogue whose name or family matches one of ``globs``; all without any.

    Raises:
        FaultSelectError: a glob matches nothing.
    """
    for glob in globs:
        if not any(_matches(fault, glob) for fault in FAULTS.values()):
            families = ", ".join(dict.fromkeys(fault.family for fault in FAULTS.values()))
            raise FaultSelectError(
                f"--faults {glob!r} names no fault; it is matched with names and with the families "
                f"{families}"
            )
    return tuple(
        fault
        for fault in FAULTS.values()
        if not globs or any(_matches(fault, glob) for glob in globs)
    )


def drillable(planned: Plan, *, samples: int | None) -> Plan:
    """The cases in which catching a fault means something, on ``samples`` evaluation samples."""
    cases: list[Case] = []
    left_out = list(planned.not_applicable)
    for case in planned.cases:
        if case.expected_failure is not None:
            reason = "is expected to fail, so a failure would not tell that a fault was noticed"
            left_out.append(NotApplicable(id=case.id, reason=reason))
        else:
            cases.append(reduced(case, samples))
    return Plan(cases=tuple(cases), not_applicable=tuple(left_out))


def reduced(case: Case, samples: int | None) -> Case:
    """The case on its first ``samples`` evaluation samples; as it is where it has no more."""
    wanted = case.data.evaluation.samples
    if samples is None or (wanted is not None and wanted <= samples):
        return case
    evaluation = replace(case.data.evaluation, samples=samples)
    return replace(case, data=replace(case.data, evaluation=evaluation))


def untimed(case: Case) -> Case:
    """The case without the tolerances for which something is timed or a process is measured."""
    kept = tuple(t for t in case.tolerances if t.tier is not Tier.DEVICE or t.metric not in TIMED)
    return replace(case, tolerances=kept)


def needs_clock(fault: Fault) -> bool:
    """Whether the fault can show in times or memory, and hardly anywhere else."""
    return fault.changes == "cost"


def mutated(case: Case, fault: Fault, *, seed: int) -> MutatedRun:
    """One fault in one case; nothing is timed where no time can change."""
    timed = needs_clock(fault)
    mutation = Mutation(factory=FACTORY, fault=fault.name, seed=seed, case_id=case.id, timed=timed)
    return MutatedRun(case=case if timed else untimed(case), fault=fault, mutation=mutation)


def _matches(fault: Fault, glob: str) -> bool:
    return fnmatchcase(fault.name, glob) or fnmatchcase(fault.family, glob)
