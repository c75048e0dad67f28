"""``gate bisect``: since which version of a package, or which commit, a check fails."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.git import GitError, git
from gate.baseline.store import BaselineStore
from gate.cli.arguments import positive
from gate.cli.complain import complain
from gate.cli.upgrade import add_stack_arguments
from gate.core.canonical import digest
from gate.core.case import Case
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.core.verdict import Verdict
from gate.report.verdicts import judged
from gate.run.settings import default_cache_dir
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root
from gate.upgrade.bisect import Tested, bisect, decide
from gate.upgrade.cells import Bench, run_cell
from gate.upgrade.history import (
    NoHistoryError,
    commits_between,
    ordered_versions,
    subject,
    versions_between,
)
from gate.upgrade.installers import StackError
from gate.upgrade.search import HistoryError, Outcome, Search, Turn
from gate.upgrade.stacks import (
    given_stack,
    make_stack,
    source_of_gate,
    this_interpreter,
)
from gate.upgrade.standing import standing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("spec", metavar="SPEC", help="the spec of the case")
    parser.add_argument("--case", required=True, metavar="CASE", help="the case that turned")
    parser.add_argument(
        "--check", metavar="METRIC", help="only this metric or rule decides (default: the verdict)"
    )
    parser.add_argument("--good", required=True, metavar="STEP", help="where it still passed")
    parser.add_argument("--bad", required=True, metavar="STEP", help="where it fails")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--package", metavar="NAME", help="search the versions of this package")
    what.add_argument("--commits", action="store_true", help="search the commits of the repository")
    parser.add_argument(
        "--versions", metavar="A,B,C", help="the versions to search (default: all released ones)"
    )
    parser.add_argument(
        "--repeats",
        type=positive,
        default=2,
        metavar="N",
        help="runs a step; a step whose runs disagree is skipped as flaky (default: 2)",
    )
    parser.add_argument(
        "--error-is-bad",
        action="store_true",
        help="a case that cannot run is bad (default: its step is skipped)",
    )
    add_stack_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Search and say where it turned."""
    if args.commits and (args.versions or args.whole or args.installer != "pip"):
        sys.stderr.write("gate bisect: --versions, --installer and --whole are for --package\n")
        return ExitCode.USAGE
    root = project_root()
    try:
        case = _case(args.spec, args.case)
        search = (
            _PackageSearch(args, case, root) if args.package else _CommitSearch(args, case, root)
        )
        turn = bisect(search.search, search.test, work=search.work, say=_say, label=search.label)
    except (SpecError, SelectError) as error:
        complain(error)
        return ExitCode.USAGE
    except (NoHistoryError, HistoryError, GitError) as error:
        sys.stderr.write(f"gate bisect: {error}\n")
        return ExitCode.USAGE
    except (StackError, BaselineError) as error:
        sys.stderr.write(f"gate bisect: {error}\n")
        return ExitCode.INFRASTRUCTURE
    if args.json:
        sys.stdout.write(json.dumps(_plain(turn, search.search), indent=1) + "\n")
    else:
        sys.stdout.write(_told(turn, search.label, args.case))
    return ExitCode.PASS


class _PackageSearch:
    """Each step is a version of one package; all else stays."""

    def __init__(self, args: argparse.Namespace, case: Case, root: Path) -> None:
        self._args = args
        self._case = case
        self._root = root
        self._base = (args.python or this_interpreter()).absolute()
        if args.versions:
            listed = args.versions.split(",")
            history = ordered_versions(args.package, listed, args.good, args.bad)
        else:
            history = versions_between(args.package, args.good, args.bad, python=self._base)
        self.search = Search(history)
        self._baselines = BaselineStore(root / "baselines")
        self.work = _work(root, args, case, history, self._baselines)

    def label(self, step: str) -> str:
        """The step for people."""
        return f"{self._args.package} {step}"

    def test(self, step: str) -> Tested:
        """Install the version beside everything else and run the case."""
        try:
            stack = make_stack(
                self.label(step),
                [f"{self._args.package}=={step}"],
                root=self._root / ".gate" / "stacks",
                base=self._base,
                installer=self._args.installer,
                whole=self._args.whole,
                say=_say,
            )
        except StackError as error:
            said = str(error).splitlines()[-1].strip()
            return Tested(outcome=Outcome.SKIP, why=f"cannot be installed: {said}")
        bench = Bench(
            project=Path.cwd(),
            work=self.work,
            gate_source=source_of_gate(self.work / "source"),
            cache_dir=default_cache_dir(self._root),
        )
        return decide(
            lambda number: run_cell(bench, self._case, stack, label=f"{step}-{number}"),
            _judge(self._case, self._baselines),
            repeats=self._args.repeats,
            rule=self._args.check,
            error_is_bad=self._args.error_is_bad,
        )


class _CommitSearch:
    """Each step is a commit, checked out beside the repository; the installed versions stay.

    Spec, models and the user's code are the commit's own; the baseline is today's, so that every
    step is held against the same.
    """

    def __init__(self, args: argparse.Namespace, case: Case, root: Path) -> None:
        self._args = args
        self._case = case
        self._top = Path(git(root, "rev-parse", "--show-toplevel").strip())
        self._root = root
        history = commits_between(self._top, args.good, args.bad)
        self.search = Search(history)
        self._baselines = BaselineStore(root / "baselines")
        self.work = _work(root, args, case, history, self._baselines)
        python = (args.python or this_interpreter()).absolute()
        self._stack = given_stack("this stack", python)

    def label(self, step: str) -> str:
        """The step for people."""
        return subject(self._top, step)

    def test(self, step: str) -> Tested:
        """Check the commit out into a work tree of its own and run the case there."""
        tree = self.work / "tree"
        self._drop(tree)
        git(self._top, "worktree", "add", "--detach", str(tree), step)
        try:
            return self._test(tree, step)
        finally:
            self._drop(tree)

    def _test(self, tree: Path, step: str) -> Tested:
        here = tree / Path.cwd().resolve().relative_to(self._top.resolve())
        spec = _within(self._case.spec_path, Path.cwd())
        if not (here / spec).is_file():
            return Tested(outcome=Outcome.SKIP, why=f"has no {spec}")
        bench = Bench(
            project=here,
            work=self.work,
            gate_source=source_of_gate(self.work / "source"),
            cache_dir=default_cache_dir(self._root),
        )
        case = replace(self._case, spec_path=spec.as_posix())
        return decide(
            lambda number: run_cell(bench, case, self._stack, label=f"{step[:12]}-{number}"),
            # The tolerances are the commit's own too: what its run was planned with decides.
            lambda result: judged(
                replace(result, case=replace(result.case, baseline_policy=case.baseline_policy)),
                self._baselines,
            ),
            repeats=self._args.repeats,
            rule=self._args.check,
            error_is_bad=self._args.error_is_bad,
        )

    def _drop(self, tree: Path) -> None:
        if tree.exists():
            shutil.rmtree(tree)
        git(self._top, "worktree", "prune")


def _case(spec: str, case_id: str) -> Case:
    cases = plan(load_specs([spec])).cases
    for case in cases:
        if case.id == case_id:
            return case
    known = ", ".join(case.id for case in cases)
    raise SelectError(f"--case '{case_id}': {spec} has no such case; it has {known}")


def _judge(case: Case, baselines: BaselineStore) -> Callable[[CaseResult], Verdict]:
    # The cell was run without looking baselines up; judged it is as `gate run` would.
    return lambda result: judged(replace(result, case=case), baselines)


def _work(
    root: Path,
    args: argparse.Namespace,
    case: Case,
    history: list[str],
    baselines: BaselineStore,
) -> Path:
    asked = {
        "case": case.id,
        "spec": case.spec_digest,
        # A commit brings its own files; the baseline is today's either way.
        "standing": None if args.commits else standing(case),
        "baselines": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in baselines.files(case.id)
        },
        "check": args.check,
        "package": args.package,
        "history": history,
        "repeats": args.repeats,
        "error_is_bad": args.error_is_bad,
    }
    return root / ".gate" / "bisects" / digest(asked)[:16]


def _within(path: str, folder: Path) -> Path:
    whole = Path(path).resolve()
    home = folder.resolve()
    if not whole.is_relative_to(home):
        raise NoHistoryError(f"{path}: is not below {folder}: run this where the specs are")
    return whole.relative_to(home)


def _told(turn: Turn, label: Callable[[str], str], case_id: str) -> str:
    lines = [
        f"{case_id} turned between",
        f"  {label(turn.last_good)}: good",
        *(f"  {label(step)}: skipped" for step in turn.between),
        f"  {label(turn.first_bad)}: bad",
    ]
    if turn.between:
        lines.append("the change is in one of those that were skipped, or in the bad one")
    return "\n".join(lines) + "\n"


def _plain(turn: Turn, search: Search) -> dict[str, object]:
    return {
        "last_good": turn.last_good,
        "first_bad": turn.first_bad,
        "skipped_between": list(turn.between),
        "outcomes": {step: outcome.value for step, outcome in search.outcomes.items()},
        "history": list(search.history),
    }


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
