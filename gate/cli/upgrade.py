"""``gate upgrade``: what other versions do to every case, and whether quantizer or kernels did it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.present import present_diff
from gate.baseline.store import BaselineStore
from gate.cli.arguments import add_accept_worse, add_in_ci, add_select
from gate.cli.complain import complain
from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.status import ExitCode, Status
from gate.run.artifacts import ArtifactStore, default_artifacts_dir
from gate.run.settings import default_cache_dir, in_ci
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.spec.skips import skip_reason
from gate.upgrade import report
from gate.upgrade.accept import Acceptance, acceptance, write
from gate.upgrade.attribution import Cause
from gate.upgrade.cells import Bench
from gate.upgrade.compare import Upgraded, compare_stacks
from gate.upgrade.installers import INSTALLERS, RequirementError, StackError
from gate.upgrade.stacks import (
    Stack,
    given_stack,
    make_stack,
    source_of_gate,
    this_interpreter,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "requirements", nargs="*", metavar="'PACKAGE==VERSION'", help="what the new stack has"
    )
    parser.add_argument(
        "--specs",
        nargs="+",
        default=None,
        metavar="PATH",
        help="specs to run (default: specs/ of the project)",
    )
    add_select(parser)
    add_stack_arguments(parser)
    parser.add_argument(
        "--from",
        dest="old_requirements",
        action="append",
        default=[],
        metavar="'PACKAGE==VERSION'",
        help="what the old stack has (default: what is installed now)",
    )
    parser.add_argument(
        "--old", type=Path, metavar="PYTHON", help="use this interpreter as the old stack"
    )
    parser.add_argument(
        "--new", type=Path, metavar="PYTHON", help="use this interpreter as the new stack"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as Markdown")
    parser.add_argument(
        "--update-baselines",
        action="store_true",
        help="afterwards accept the new stack's results, each with what the upgrade did to its case as"
        " the reason; a case that cannot run, fails or gets worse is left out and named",
    )
    add_accept_worse(parser)
    add_in_ci(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    """How stacks are made."""
    parser.add_argument(
        "--python",
        type=Path,
        default=None,
        metavar="PYTHON",
        help="interpreter that stacks are based on (default: this one)",
    )
    parser.add_argument(
        "--installer", choices=INSTALLERS, default="pip", help="what installs (default: pip)"
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="repeat every package in each stack instead of only what differs",
    )


def run(args: argparse.Namespace) -> int:
    """Compare and report."""
    if mistake := _mistake(args):
        sys.stderr.write(f"gate upgrade: {mistake}\n")
        return ExitCode.USAGE
    root = project_root()
    try:
        cases = plan(load_specs(args.specs or [str(root / "specs")]), args.select).cases
    except (SpecError, SelectError) as error:
        complain(error)
        return ExitCode.USAGE
    cases, skipped = _runnable(cases)
    for case_id, reason in skipped:
        sys.stderr.write(f"{case_id}: skipped: {reason}\n")
    try:
        old, new = stacks(args, root)
        bench = _bench(old, new, root)
        upgraded = _compare(cases, old, new, bench=bench, root=root)
        store = BaselineStore(root / "baselines")
        accepted = None
        if args.update_baselines:
            heading, worse = report.title(old, new), args.accept_worse
            accepted = acceptance(upgraded, store, heading=heading, root=root, accept_worse=worse)
        _tell(args, (old, new), upgraded, skipped, accepted.left_out if accepted else ())
        return _accept(args, accepted, upgraded, store=store, root=root)
    except (StackError, BaselineError) as error:
        sys.stderr.write(f"gate upgrade: {error}\n")
        return ExitCode.USAGE if isinstance(error, RequirementError) else ExitCode.INFRASTRUCTURE


def _tell(
    args: argparse.Namespace,
    pair: tuple[Stack, Stack],
    upgraded: Sequence[Upgraded],
    skipped: Sequence[tuple[str, str]],
    left_out: report.LeftOut,
) -> None:
    if args.report is not None:
        text = report.markdown(*pair, upgraded, left_out)
        args.report.write_text(text, encoding="utf-8")
    if args.json:
        document = report.plain(*pair, upgraded, left_out)
        document["skipped"] = [{"case_id": c, "reason": r} for c, r in skipped]
        sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(report.terminal(*pair, upgraded, left_out))


def _mistake(args: argparse.Namespace) -> str:
    """Why the request makes no sense; empty where it does."""
    if bool(args.requirements) == (args.new is not None):
        return "name what is upgraded, as in 'onnxruntime==1.31.1', or --new PYTHON"
    if args.old is not None and args.old_requirements:
        return "--from and --old both say what the old stack is: give one"
    if (args.accept_worse or args.in_ci) and not args.update_baselines:
        return "--accept-worse and --in-ci are for --update-baselines, which is not given"
    if args.update_baselines and in_ci() and not args.in_ci:
        return (
            "CI is set, and a check that accepts its own results checks nothing:"
            " leave --update-baselines out, or give --in-ci in a job made for it"
        )
    return ""


def stacks(args: argparse.Namespace, root: Path) -> tuple[Stack, Stack]:
    """The two stacks that the command line asks for.

    Raises:
        StackError: one cannot be made.
    """
    base = (args.python or this_interpreter()).absolute()
    home = root / ".gate" / "stacks"

    def stack(name: str, given: Path | None, requirements: Sequence[str]) -> Stack:
        if given is not None or not requirements:
            return given_stack(name, given or base)
        return make_stack(
            name,
            requirements,
            root=home,
            base=base,
            installer=args.installer,
            whole=args.whole,
            say=_say,
        )

    old = stack("the old stack", args.old, args.old_requirements)
    return old, stack("the new stack", args.new, args.requirements)


def _bench(old: Stack, new: Stack, root: Path) -> Bench:
    name = digest({"old": dict(old.versions), "new": dict(new.versions)})[:16]
    work = root / ".gate" / "upgrades" / name
    _say(f"kept in {work}: an interrupted comparison goes on where it was")
    return Bench(
        project=Path.cwd(),
        work=work,
        gate_source=source_of_gate(work / "source"),
        cache_dir=default_cache_dir(root),
    )


def _compare(
    cases: Sequence[Case], old: Stack, new: Stack, *, bench: Bench, root: Path
) -> list[Upgraded]:
    return list(
        compare_stacks(
            cases,
            old,
            new,
            bench=bench,
            baselines=BaselineStore(root / "baselines"),
            artifacts=ArtifactStore(default_artifacts_dir(root)),
            say=_say,
        )
    )


def _runnable(cases: Sequence[Case]) -> tuple[tuple[Case, ...], list[tuple[str, str]]]:
    reasons = {case.id: skip_reason(case, probe=False) for case in cases}
    skipped = [(case_id, reason) for case_id, reason in reasons.items() if reason is not None]
    return tuple(case for case in cases if reasons[case.id] is None), skipped


def _code(upgraded: Sequence[Upgraded]) -> int:
    """0 where every case passes on the new stack; what fails there only because its baseline is of
    the old one fails here too: that is what is to be looked at."""
    statuses = {item.verdict.status for item in upgraded}
    broken = any(Cause.NOT_COMPARED in item.attribution.causes for item in upgraded)
    if not upgraded or broken or Status.ERROR in statuses:
        return ExitCode.INFRASTRUCTURE
    if Status.FAIL in statuses:
        return ExitCode.FAIL
    return ExitCode.INCONCLUSIVE if Status.INCONCLUSIVE in statuses else ExitCode.PASS


def _accept(
    args: argparse.Namespace,
    accepted: Acceptance | None,
    upgraded: Sequence[Upgraded],
    *,
    store: BaselineStore,
    root: Path,
) -> int:
    """Offer the update of the baselines, or do it, its diff first."""
    if accepted is None:
        if upgraded:
            _say(
                "to accept this, give the same command with --update-baselines: what has run is kept"
            )
        return _code(upgraded)
    # Standard output is one JSON document, and that is written already.
    out = sys.stderr if args.json else sys.stdout
    for recording in accepted.recordings:
        out.write(f"{present_diff(recording.diff)}\n")
        if recording.replaces:
            out.write(f"  replaces a broken file: {recording.replaces}\n")
    for case_id, why in accepted.skipped:
        out.write(f"{case_id}: skipped: {why}\n")
    if not accepted.recordings and not accepted.unchanged:
        out.write("nothing was written: no case could be recorded\n")
    else:
        for line in write(accepted, upgraded, store, root):
            out.write(f"{line}\n")
    left = {case_id for case_id, _ in accepted.left_out}
    statuses = {item.verdict.status for item in upgraded if item.case.id in left}
    if Status.ERROR in statuses or not (accepted.recordings or accepted.unchanged or left):
        return ExitCode.INFRASTRUCTURE
    return ExitCode.FAIL if left else ExitCode.PASS


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
