"""``gate tune-tolerances``: bounds from measured noise and planted faults, as a diff of the spec."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.cli.arguments import add_select, positive
from gate.cli.drill import add_drill_arguments, drill_of, repeats_of
from gate.core.case import Plan
from gate.core.status import ExitCode
from gate.drill.base import Fault
from gate.drill.cases import FaultSelectError, drillable, select_faults
from gate.drill.edit import Edited, apply, unified_diff
from gate.drill.engine import Drill
from gate.drill.healthy import HealthyRepeats
from gate.drill.outcome import Finding, score
from gate.drill.tune import Evidence, Proposal, additions, proposals
from gate.judge.measure import measure
from gate.judge.wording import count
from gate.report import stdout
from gate.run.settings import InfrastructureError
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan

REPEATS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("spec", metavar="SPEC", help="one spec file")
    add_select(parser)
    add_drill_arguments(parser)
    parser.add_argument(
        "--repeats",
        type=positive,
        default=REPEATS,
        metavar="N",
        help=f"healthy runs of every case that the noise is taken from (default: {REPEATS})",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the proposed bounds into the spec"
    )
    parser.add_argument(
        "--loosen",
        action="store_true",
        help="propose bounds that are looser than the present ones too",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, propose, and print the diff (or write it)."""
    file = Path(args.spec)
    try:
        faults = select_faults(args.faults)
        if file.is_dir():
            sys.stderr.write(f"{file}: is a folder; tolerances are tuned one spec at a time\n")
            return ExitCode.USAGE
        planned = drillable(plan(load_specs([args.spec]), args.select), samples=args.samples)
    except (SpecError, SelectError, FaultSelectError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    try:
        return _tune(file, planned, faults, args)
    except (InfrastructureError, BaselineError) as error:
        sys.stderr.write(f"gate tune-tolerances: {error}\n")
        return ExitCode.INFRASTRUCTURE


def _tune(file: Path, planned: Plan, faults: tuple[Fault, ...], args: argparse.Namespace) -> int:
    repeats = repeats_of(planned, args.repeats, args)
    drill = drill_of(planned, faults, args)
    if repeats.interrupted or drill.interrupted:
        return ExitCode.INTERRUPTED
    evidence = evidence_of(drill, repeats)
    changed = proposals(evidence)
    wanted = [one for one in changed if args.loosen or not one.looser]
    kept = [one for one in changed if one.looser and not args.loosen]
    wanted += additions(evidence, wanted)
    with file.open(encoding="utf-8", newline="") as stream:
        before = stream.read()
    edited = apply(before, file.as_posix(), wanted)
    diff = unified_diff(file, before, edited.text)
    _explain(drill, repeats, wanted, kept, edited)
    if args.write and diff:
        with file.open("w", encoding="utf-8", newline="") as stream:
            stream.write(edited.text)
    written = stdout.write(diff)
    if drill.sick or score(drill.outcomes).broken or not written:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.PASS


def evidence_of(drill: Drill, repeats: HealthyRepeats) -> tuple[Evidence, ...]:
    """What a drill and healthy repeats know of each case."""
    return tuple(
        Evidence(
            case=one.case,
            healthy=tuple(measure(one.observation)),
            noise=repeats.noise[one.case.id],
            faults={
                o.fault.name: o.measured
                for o in drill.outcomes
                if o.case_id == one.case.id and o.effective and o.measured
            },
            uncaught=frozenset(
                o.fault.name
                for o in drill.outcomes
                if o.case_id == one.case.id and o.finding is Finding.SLIPPED
            ),
        )
        for one in drill.healthy
        if one.case.id in repeats.noise
    )


def _explain(
    drill: Drill,
    repeats: HealthyRepeats,
    wanted: Sequence[Proposal],
    kept: Sequence[Proposal],
    edited: Edited,
) -> None:
    """On the standard error stream: the standard output is a patch and nothing else."""
    total = score(drill.outcomes)
    lines = [
        (
            f"{total.caught} of {count(total.effective, 'fault')} caught by the spec as it is; "
            f"{count(len(repeats.alarms), 'false alarm')} in {count(repeats.runs, 'healthy rerun')}"
        )
    ]
    lines += [f"  {one.case_id}: {one.reason}" for one in (*drill.sick, *repeats.failures)]
    lines += [f"  {alarm.case_id} ({alarm.variation}): {alarm.what}" for alarm in repeats.alarms]
    left_out = {id(proposal): why for proposal, why in edited.left_out}
    lines += _lines("", (one for one in wanted if id(one) not in left_out))
    lines += _lines("looser, not proposed without --loosen: ", kept)
    for proposal, why in edited.left_out:
        lines += [f"{line} [not edited: {why}]" for line in _lines("", [proposal])]
    if not wanted and not kept:
        lines.append("  every bound is already as good as what was measured can make it")
    sys.stderr.write("\n".join(lines) + "\n")


def _lines(prefix: str, proposed: Iterable[Proposal]) -> list[str]:
    found = []
    for one in proposed:
        change = f"{one.old!r} -> {one.new!r}" if one.where is not None else f"add {one.new!r}"
        mark = " (LOOSER)" if one.looser else ""
        found.append(f"  {prefix}{one.tier}.{one.metric}: {change}{mark}: {one.why}")
    return found
