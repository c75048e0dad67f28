"""``gate upgrade``: what other versions do to every case, and whether quantizer or kernels did it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.cli.arguments import add_accept_worse, add_in_ci, add_select
from gate.cli.complain import complain
from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.status import ExitCode, Status
from gate.judge.wording import count, names
from gate.run.artifacts import ArtifactStore, default_artifacts_dir
from gate.run.settings import default_cache_dir, in_ci
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.spec.skips import skip_reason
from gate.upgrade import report
from gate.upgrade.attribution import Cause
from gate.upgrade.cells import Bench, environment, exactly
from gate.upgrade.compare import Upgraded, compare_stacks
from gate.upgrade.stacks import (
    RequirementError,
    Stack,
    StackError,
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
        help="afterwards accept the new stack's results, with this upgrade as the reason",
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
        "--installer", choices=["pip", "uv"], default="pip", help="what installs (default: pip)"
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
    except (StackError, BaselineError) as error:
        sys.stderr.write(f"gate upgrade: {error}\n")
        return ExitCode.USAGE if isinstance(error, RequirementError) else ExitCode.INFRASTRUCTURE
    if args.report is not None:
        args.report.write_text(report.markdown(old, new, upgraded), encoding="utf-8")
    if args.json:
        document = report.plain(old, new, upgraded)
        document["skipped"] = [{"case_id": c, "reason": r} for c, r in skipped]
        sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(report.terminal(old, new, upgraded))
    reason = f"{report.title(old, new)} ({report.summary(upgraded)})"
    return _accept(args, reason, new, upgraded, bench=bench)


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
    args: argparse.Namespace, reason: str, new: Stack, upgraded: Sequence[Upgraded], *, bench: Bench
) -> int:
    """Offer the update of the baselines, or do it under the new stack."""
    code = _code(upgraded)
    if not args.update_baselines:
        if upgraded:
            _say(
                "to accept this, install the new stack, look at `gate baseline update SPECS --dry-run`,"
            )
            _say(f"then give it --reason '{reason}'")
        return code
    broken = [item.case.id for item in upgraded if item.verdict.status is Status.ERROR]
    if broken:
        _say(f"no baseline was updated: {count(len(broken), 'case')} cannot run: {names(broken)}")
        return code
    specs = sorted({item.case.spec_path for item in upgraded})
    selected = [word for item in upgraded for word in ("--select", exactly(item.case.id))]
    done = subprocess.run(  # noqa: S603 - an interpreter that the user named, own arguments
        [
            *(str(new.python), "-m", "gate.cli.main", "baseline", "update", *specs),
            *("--reason", reason, *selected),
            *(("--in-ci",) if args.in_ci else ()),
            *(word for metric in args.accept_worse for word in ("--accept-worse", metric)),
        ],
        env=dict(environment(bench)),
        cwd=bench.project,
        # Standard output is one JSON document, and that is written already.
        stdout=sys.stderr if args.json else None,
        check=False,
    )
    return done.returncode


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
