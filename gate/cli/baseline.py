"""``gate baseline``: update, show, diff, log, verify or prune the stored baselines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gate.baseline.errors import BaselineError
from gate.baseline.make import provenance_of
from gate.baseline.present import present_baseline, present_diff
from gate.baseline.store import BaselineStore
from gate.baseline.update import Update, prepare
from gate.cli import baseline_log
from gate.cli.arguments import add_accept_worse, add_baselines, add_in_ci, add_jobs, add_select
from gate.core.convert import to_plain
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.judge.wording import count, names
from gate.run.artifacts import default_artifacts_dir, keep_candidates_of
from gate.run.events import CaseFinished, Event
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir, in_ci
from gate.run.store import StoredRunError, create_run, read_run
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import SelectError, plan
from gate.spec.project import project_root

LATEST = "latest"


class _UsageError(Exception):
    """A request that makes no sense; the message is for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = argparse.ArgumentParser(add_help=False)
    add_baselines(common)
    common.add_argument("--json", action="store_true", help="print one JSON document")

    update = actions.add_parser(
        "update", parents=[common], help="accept results as the new baselines; shows the diff first"
    )
    update.add_argument("paths", nargs="*", metavar="PATH", help="specs to run")
    update.add_argument(
        "--from",
        dest="run_dir",
        nargs="?",
        const=LATEST,
        metavar="RUN",
        help="take the results of a stored run (default: the latest) instead of running",
    )
    add_select(update)
    update.add_argument("--reason", default="", help="why; required where something gets worse")
    add_accept_worse(update)
    update.add_argument(
        "--accept-failing", action="store_true", help="record cases that fail or are inconclusive"
    )
    update.add_argument(
        "--times",
        action="store_true",
        help="also where nothing but times and memory changed, which they do in every run",
    )
    update.add_argument("--dry-run", action="store_true", help="show the diff and write nothing")
    add_in_ci(update)
    update.add_argument("--full", action="store_true", help="show every changed value")
    add_jobs(update)

    show = actions.add_parser("show", parents=[common], help="print the baselines of one case")
    show.add_argument("case", metavar="CASE", help="<spec>/<quantization>@<target>")

    diff = actions.add_parser(
        "diff", parents=[common], help="compare a stored run with the baselines"
    )
    diff.add_argument("run_dir", nargs="?", default=LATEST, metavar="RUN")
    diff.add_argument("--full", action="store_true", help="show every changed value")

    log = actions.add_parser(
        "log", parents=[common], help="a metric of one case over the commits of the repository"
    )
    baseline_log.add_arguments(log)

    verify = actions.add_parser(
        "verify", parents=[common], help="check every file, and that a planned case owns it"
    )
    verify.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="folders of specs, or single specs to look at (default: specs/)",
    )

    prune = actions.add_parser("prune", parents=[common], help="list baselines that no case owns")
    prune.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="folders of all specs, or single specs to look at (default: specs/)",
    )
    prune.add_argument("--yes", action="store_true", help="delete them")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit codes are those of every command."""
    store = BaselineStore(args.baselines or project_root() / "baselines")
    action = {
        "update": _update,
        "show": _show,
        "diff": _diff,
        "log": baseline_log.run,
        "verify": _verify,
        "prune": _prune,
    }
    try:
        return action[args.action](args, store)
    except (SpecError, SelectError, baseline_log.UnknownError, _UsageError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.USAGE
    except (BaselineError, StoredRunError, InfrastructureError) as error:
        sys.stderr.write(f"gate baseline: {error}\n")
        return ExitCode.INFRASTRUCTURE


def _update(args: argparse.Namespace, store: BaselineStore) -> int:
    if bool(args.paths) == (args.run_dir is not None):
        raise _UsageError("gate baseline update: name specs to run, or --from RUN, not both")
    if in_ci() and not (args.in_ci or args.dry_run):
        raise _UsageError(
            "gate baseline update: CI is set, and a check that accepts its own results checks"
            " nothing; run it on a workstation, or give --in-ci in a job made for it"
        )
    results = _results(args)
    interrupted = any(r.failure is not None and r.failure.kind == "interrupted" for r in results)
    if interrupted:
        sys.stderr.write("interrupted: nothing was written\n")
        return ExitCode.INTERRUPTED
    provenance = provenance_of(args.reason or "no reason given", project_root())
    update = prepare(
        results, store, provenance, accept_failing=args.accept_failing, keep_noise=args.times
    )
    outcome = _outcome(update, args, store, results)
    if args.json:
        _print_json({**_plain(update, store), **outcome})
    else:
        _print_update(update, full=args.full)
        sys.stdout.write(f"{outcome['message']}\n")
    return int(outcome["exit_code"])


def _outcome(
    update: Update, args: argparse.Namespace, store: BaselineStore, results: Sequence[CaseResult]
) -> dict[str, Any]:
    """Write, or say why not."""
    worse = update.needs_reason
    loosened = update.loosened(args.accept_worse)
    written: tuple[Path, ...] = ()
    if update.refused:
        code, message = ExitCode.FAIL, "nothing was written: cases were refused"
    elif worse and not args.reason:
        code = ExitCode.USAGE
        message = (
            f"nothing was written: {names(worse)} gets worse or is rebuilt; say why (--reason)"
        )
    elif loosened and not args.dry_run:
        code = ExitCode.USAGE
        words = " ".join(f"--accept-worse {metric}" for metric in loosened)
        message = (
            f"nothing was written: {names(loosened)} would get worse; if that is meant: {words}"
        )
    elif args.dry_run:
        code = ExitCode.PASS
        message = f"dry run: {count(len(update.recordings), 'baseline')} would be written"
    elif not update.recordings and not update.unchanged:
        code, message = ExitCode.INFRASTRUCTURE, "nothing was written: no case could be recorded"
    else:
        written = store.write_all([r.baseline for r in update.recordings])
        code = ExitCode.PASS
        message = f"{count(len(written), 'baseline')} written, {len(update.unchanged)} unchanged"
        for line in keep_candidates_of(results, store, project_root()):
            message += f"\n{line}"
    return {"exit_code": code, "message": message, "written": [str(path) for path in written]}


def _results(args: argparse.Namespace) -> list[CaseResult]:
    if args.run_dir is not None:
        return _stored(args.run_dir, args.select)
    from gate.run.engine import run_plan

    wanted = plan(load_specs(args.paths), args.select)
    root = project_root()
    settings = RunSettings(
        run_dir=create_run(root / ".gate" / "runs"),
        cache_dir=default_cache_dir(root),
        jobs=args.jobs,
        baselines_dir=(args.baselines or root / "baselines").absolute(),
        artifacts_dir=default_artifacts_dir(root),
    )
    order = {case.id: index for index, case in enumerate(wanted.cases)}
    results = list(run_plan(wanted, settings=settings, on_event=_say))
    return sorted(results, key=lambda result: order[result.case.id])


def _say(event: Event) -> None:
    if isinstance(event, CaseFinished):
        sys.stderr.write(f"{event.result.case.id}: {event.seconds:.1f} s\n")


def _stored(run_dir: str, select: Sequence[str] = ()) -> list[CaseResult]:
    latest = project_root() / ".gate" / "runs" / LATEST
    results = read_run(latest if run_dir == LATEST else Path(run_dir))
    for glob in select:
        if not any(fnmatchcase(result.case.id, glob) for result in results):
            raise _UsageError(f"--select '{glob}' matches no case of the run")
    if not select:
        return results
    return [r for r in results if any(fnmatchcase(r.case.id, glob) for glob in select)]


def _show(args: argparse.Namespace, store: BaselineStore) -> int:
    found = baseline_log.files_of(args.case, store)
    baselines, code = [], ExitCode.PASS
    for path in found:
        try:
            baselines.append((path, store.check(path)))
        except BaselineError as error:
            sys.stderr.write(f"{path}: {error}\n")
            code = ExitCode.INFRASTRUCTURE
    if args.json:
        _print_json([{"path": str(path), **to_plain(b)} for path, b in baselines])
    else:
        texts = [present_baseline(baseline, str(path)) for path, baseline in baselines]
        sys.stdout.write("\n\n".join(texts) + "\n" if texts else "")
    return code


def _diff(args: argparse.Namespace, store: BaselineStore) -> int:
    results = _stored(args.run_dir)
    provenance = provenance_of("", project_root())
    update = prepare(results, store, provenance, accept_failing=True, keep_noise=True)
    if args.json:
        _print_json(_plain(update, store))
    else:
        _print_update(update, full=args.full)
        sys.stdout.write(
            f"{count(len(update.recordings), 'case')} changed, {len(update.unchanged)} unchanged\n"
        )
    # Only what has no observation is refused here: nothing is known about it.
    return ExitCode.INFRASTRUCTURE if update.refused else ExitCode.PASS


def _verify(args: argparse.Namespace, store: BaselineStore) -> int:
    owned = _planned(args.paths)
    problems: list[tuple[str, str]] = []
    files = _concerned(args.paths, owned, store)
    for path in files:
        try:
            baseline = store.check(path)
        except BaselineError as error:
            problems.append((str(path), str(error)))
            continue
        if baseline.case_id not in owned:
            message = f"no planned case is called {baseline.case_id}; see `gate baseline prune`"
            problems.append((str(path), message))
    if args.json:
        faults = [{"path": place, "message": message} for place, message in problems]
        _print_json({"files": len(files), "problems": faults})
    else:
        for place, message in problems:
            sys.stdout.write(f"{place}: {message}\n")
        sys.stdout.write(
            f"{count(len(files), 'baseline')} checked, {count(len(problems), 'problem')}\n"
        )
    return ExitCode.FAIL if problems else ExitCode.PASS


def _prune(args: argparse.Namespace, store: BaselineStore) -> int:
    owned = _planned(args.paths)
    folders = {store.folder(case_id) for case_id in owned}
    # By place, not by content: a file that cannot be read has an owner too, or none.
    unused = [p for p in _concerned(args.paths, owned, store) if p.parent not in folders]
    if args.yes:
        store.remove(unused)
    if args.json:
        _print_json({"unused": [str(path) for path in unused], "deleted": args.yes})
        return ExitCode.PASS
    for path in unused:
        sys.stdout.write(f"{path}\n")
    done = "deleted" if args.yes else "unused; --yes deletes them" if unused else "unused"
    sys.stdout.write(f"{count(len(unused), 'baseline')} {done}\n")
    return ExitCode.PASS


def _planned(paths: Sequence[str]) -> set[str]:
    """Ids of all cases of the specs, whether they can run here or not."""
    where = list(paths) or [str(project_root() / "specs")]
    return {case.id for case in plan(load_specs(where, both=True)).cases}


def _concerned(paths: Sequence[str], owned: set[str], store: BaselineStore) -> list[Path]:
    """Baseline files to look at: all of them, or those of the specs where single specs are named,
    which say nothing about the baselines of others."""
    if not paths or any(Path(path).is_dir() for path in paths):
        return list(store.files())
    specs = sorted({case_id.partition("/")[0] for case_id in owned})
    return [path for spec in specs for path in store.files(spec)]


def _plain(update: Update, store: BaselineStore) -> dict[str, Any]:
    def pairs(items: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"case_id": case_id, "reason": reason} for case_id, reason in items]

    return {
        "changes": [
            {
                "path": str(store.place(r.baseline)),
                "replaces_broken": r.replaces,
                **to_plain(r.diff),
            }
            for r in update.recordings
        ],
        "unchanged": list(update.unchanged),
        "skipped": pairs(update.skipped),
        "refused": pairs(update.refused),
    }


def _print_update(update: Update, *, full: bool) -> None:
    for recording in update.recordings:
        sys.stdout.write(f"{present_diff(recording.diff, full=full)}\n")
        if recording.replaces:
            sys.stdout.write(f"  replaces a broken file: {recording.replaces}\n")
    for word, items in (("skipped", update.skipped), ("REFUSED", update.refused)):
        for case_id, reason in items:
            sys.stdout.write(f"{case_id}: {word}: {reason}\n")


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
