"""Workers that end badly, for real: each says how, in which stage, and what it printed last."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gate.core.case import Plan
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.engine import run_plan
from gate.run.settings import RunSettings
from gate.run.store import read_run
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import spec_of, write_spec

SMALL = {"memory": "700 MiB"}
CASES = {
    "healthy-first": spec_of("good"),
    "segfault": spec_of("segfault"),
    "killed": spec_of("killed"),
    "hang": spec_of("hang", run={"timeout": "2 s"}),
    "spin": spec_of("spin", run={"timeout": "2 s"}),
    "allocate": spec_of("allocate", run=SMALL),
    "child": spec_of("allocate_in_child", run=SMALL),
    "leave": spec_of("leave"),
    "exit-code": spec_of("exit_code"),
    "wrong": spec_of("wrong"),
    "chatty": spec_of("chatty"),
    "forged-nonce": spec_of("forge"),
    "forged-case": spec_of("forge", kwargs={"nonce": None, "case_id": "other/dyn@ort"}),
    "truncated": spec_of("truncated"),
    "no-room": spec_of("no_room"),
    "nonsense": spec_of("announce_nonsense"),
    "healthy-last": spec_of("good"),
}


@pytest.fixture(scope="module")
def run_dir(project: Path) -> Path:
    return project / "run"


@pytest.fixture(scope="module")
def results(project: Path, run_dir: Path) -> dict[str, CaseResult]:
    """All cases in one run, two at a time."""
    specs = load_specs([write_spec(project, name, spec) for name, spec in CASES.items()])
    settings = RunSettings(run_dir=run_dir, cache_dir=project / "cache", jobs=2)
    found = {r.case.spec_id: r for r in run_plan(plan(specs), settings=settings)}
    assert set(found) == set(CASES)
    return found


def failure(results: dict[str, CaseResult], name: str) -> RunFailure:
    found = results[name]
    assert found.observation is None
    assert found.skipped is None
    assert found.failure is not None
    return found.failure


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("segfault", "crash", "SIGSEGV"),
        ("killed", "memory", "SIGKILL"),
        ("hang", "timeout", "2 s"),
        ("spin", "timeout", "2 s"),
        ("allocate", "memory", "more than run.memory of 700 MiB"),
        ("child", "memory", "more than run.memory of 700 MiB"),
        ("leave", "no-result", "exit code 0"),
        ("exit-code", "crash", "exit code 7"),
        ("chatty", "crash", "exit code 9"),
        ("forged-nonce", "forged", "not written by this case's worker"),
        ("forged-case", "forged", "not written by this case's worker"),
        ("truncated", "no-result", "no complete JSON"),
    ],
)
def test_each_end_is_told_apart(
    results: dict[str, CaseResult], name: str, kind: str, message: str
) -> None:
    found = failure(results, name)
    assert (found.kind, found.stage) == (kind, "data")
    assert message in found.message


def test_a_user_s_mistake_is_refused_without_a_traceback(results: dict[str, CaseResult]) -> None:
    found = failure(results, "wrong")
    assert (found.kind, found.stage) == ("refused", "data")
    assert "no such thing" in found.message
    assert "Traceback" not in found.message + found.last_output


def test_what_was_last_printed_is_quoted(results: dict[str, CaseResult]) -> None:
    assert failure(results, "hang").last_output == "about to hang"
    assert failure(results, "leave").last_output == "leaving early"
    segfault = failure(results, "segfault").last_output
    assert segfault.startswith("about to crash")
    assert "Segmentation fault" in segfault  # the interpreter's own fault handler


def test_a_worker_that_can_write_no_file_still_says_why(results: dict[str, CaseResult]) -> None:
    found = failure(results, "no-room")
    assert found.kind == "crash"
    assert found.stage in ("quantize", "numerical")  # the first that is not in the cache
    assert found.last_output == "the result cannot be written: [Errno 27] File too large"


def test_quoted_output_is_bounded_and_without_terminal_controls(
    results: dict[str, CaseResult],
) -> None:
    said = failure(results, "chatty").last_output
    assert len(said.splitlines()) == 20
    assert "line 19999 red" in said.splitlines()[-1]
    assert "\x1b" not in said
    assert max(map(len, failure(results, "spin").last_output.splitlines())) <= 300


def test_other_cases_go_on(results: dict[str, CaseResult]) -> None:
    for name in ("healthy-first", "healthy-last"):
        observation = results[name].observation
        assert observation is not None
        assert observation.samples_evaluated == 20


def test_nonsense_on_the_pipe_changes_nothing(results: dict[str, CaseResult]) -> None:
    assert results["nonsense"].observation is not None


def test_every_result_is_on_disk_as_it_was_given(
    results: dict[str, CaseResult], run_dir: Path
) -> None:
    stored = {result.case.spec_id: result for result in read_run(run_dir)}
    assert stored == results


def test_working_files_are_gone(results: dict[str, CaseResult], run_dir: Path) -> None:
    assert results
    assert not (run_dir / "work").exists()


def test_processes_that_left_the_group_are_ended_too(project: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    spec = spec_of("orphan", kwargs={"pid_file": str(pids)}, run={"timeout": "3 s"})
    wanted: Plan = plan(load_specs([write_spec(project, "orphan", spec)]))
    settings = RunSettings(run_dir=tmp_path / "run", cache_dir=None)
    (result,) = run_plan(wanted, settings=settings)
    assert result.failure is not None
    assert result.failure.kind == "timeout"
    assert list(_alive(pids.read_text())) == []


def _alive(pids: str) -> Iterator[int]:
    deadline = time.monotonic() + 5
    for pid in map(int, pids.split()):
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE and pid != os.getpid():
                break
            time.sleep(0.05)
        else:
            if psutil.pid_exists(pid):
                yield pid
