from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.case import Case, Plan
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.locks import FileLock
from gate.run.settings import InfrastructureError
from gate.run.store import (
    RUNS_KEPT,
    RunStore,
    StoredRunError,
    choice_path,
    create_run,
    read_run,
    repro_path,
    result_path,
    use_run,
)

FAILURE = RunFailure(kind="crash", stage="data", message="m")


@pytest.fixture
def case(planned: Callable[..., Plan]) -> Case:
    return planned().cases[0]


def test_results_are_read_back_in_the_order_of_the_plan(case: Case, tmp_path: Path) -> None:
    cases = [replace(case, id=name) for name in ("s/b@x", "s/a@x")]
    store = RunStore(tmp_path, cases)
    results = [CaseResult(case=c, failure=FAILURE) for c in cases]
    for result in reversed(results):
        store.save(result)
    store.close()
    assert read_run(tmp_path) == results


def test_cases_never_share_a_file(tmp_path: Path) -> None:
    names = ["a/b@c", "a__b@c", "a%2Fb@c", "a/b/c", "a.b@c"]
    assert len({result_path(tmp_path, name) for name in names}) == len(names)
    assert all(result_path(tmp_path, n).parent == tmp_path / "results" for n in names)


def test_a_planned_case_without_a_result_is_a_failure(case: Case, tmp_path: Path) -> None:
    RunStore(tmp_path, [case]).close()
    (result,) = read_run(tmp_path)
    assert result.failure is not None
    assert result.failure.kind == "no-result"


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[" * 100000])
def test_a_broken_result_is_no_result_at_all(case: Case, tmp_path: Path, text: str) -> None:
    RunStore(tmp_path, [case]).close()
    result_path(tmp_path, case.id).write_text(text)
    with pytest.raises(StoredRunError, match="run the case again"):
        read_run(tmp_path)


def test_a_result_of_another_case_is_refused(case: Case, tmp_path: Path) -> None:
    RunStore(tmp_path, [case]).close()
    other = replace(case, run=replace(case.run, seed=1))
    store = RunStore(tmp_path / "other", [other])
    store.save(CaseResult(case=other, failure=FAILURE))
    result_path(tmp_path / "other", case.id).rename(result_path(tmp_path, case.id))
    with pytest.raises(StoredRunError, match="another case"):
        read_run(tmp_path)


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoredRunError, match="holds no run"):
        read_run(tmp_path)


def test_latest_points_at_the_newest_and_old_runs_go(case: Case, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for day in range(RUNS_KEPT + 3):
        RunStore(runs / f"2020010{day:02}T000000Z-aaaaaa", [case]).close()
    kept = FileLock(runs / "202001000T000000Z-aaaaaa" / "run.lock")
    kept.acquire(shared=True)  # as a run that still goes on does
    newest = create_run(runs)
    assert (runs / "latest").resolve() == newest.resolve()
    names = sorted(p.name for p in runs.iterdir() if not p.is_symlink())
    assert len(names) == RUNS_KEPT + 1
    assert names[0] == "202001000T000000Z-aaaaaa"
    kept.release()


def test_a_named_folder_is_used_again_but_a_foreign_one_is_not(case: Case, tmp_path: Path) -> None:
    store = RunStore(use_run(tmp_path / "out"), [case])
    store.save(CaseResult(case=case, failure=FAILURE))
    store.close()
    for path in (repro_path(tmp_path / "out", case.id), choice_path(tmp_path / "out", case.id)):
        path.mkdir(parents=True)
    left = sorted(path.name for path in use_run(tmp_path / "out").iterdir())
    assert left == ["run.json", "run.lock"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(InfrastructureError, match="neither empty nor an earlier run"):
        use_run(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_folder_of_a_run_that_goes_on_is_left_alone(case: Case, tmp_path: Path) -> None:
    store = RunStore(use_run(tmp_path / "out"), [case])
    store.save(CaseResult(case=case, failure=FAILURE))
    with pytest.raises(InfrastructureError, match="another run is going on in it"):
        use_run(tmp_path / "out")
    assert len(read_run(tmp_path / "out")) == 1
    store.close()
    use_run(tmp_path / "out")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the kernel has no full device")
def test_a_full_disk_is_an_infrastructure_error(case: Case, tmp_path: Path) -> None:
    store = RunStore(tmp_path, [case])
    path = result_path(tmp_path, case.id)
    # Where the store writes before it renames; the device refuses every byte as a full disk does.
    path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(InfrastructureError, match="No space left on device"):
        store.save(CaseResult(case=case, failure=FAILURE))
    assert list((tmp_path / "results").iterdir()) == []
    store.save(CaseResult(case=case, failure=FAILURE))
    assert path.exists()


def test_results_are_plain_json(case: Case, tmp_path: Path) -> None:
    store = RunStore(tmp_path, [case])
    store.save(CaseResult(case=case, failure=FAILURE))
    store.close()
    assert json.loads(result_path(tmp_path, case.id).read_text())["case"]["id"] == case.id
