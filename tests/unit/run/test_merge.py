"""Shards put together: the same bytes however they were divided, and no mistake that passes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.cli.main import main
from gate.core.case import NotApplicable, Plan
from gate.core.convert import to_json, to_plain
from gate.core.layer import ErrorSums
from gate.core.observation import Observation, RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.run import parallel
from gate.run.costs import Costs, read_costs
from gate.run.shards import Part, Shard, part_of, written_digest
from gate.run.store import PLAN_FILE, RUN_FILE, RunStore, read_run, result_path
from tests.unit.report.records import case, observation

CASES = 23
PLAN = Plan(
    cases=tuple(
        replace(case(f"spec{i % 3}/q{i}@ort-cpu"), baseline_policy="ignore") for i in range(CASES)
    ),
    not_applicable=(NotApplicable(id="spec0/x@torch", reason="no such format"),),
)
REPORTS = ("report.json", "junit.xml", "report.md", "report.sarif", "badge.json", "report.html")


def observed(index: int) -> Observation:
    plain = observation(PLAN.cases[index].id)
    errors = ErrorSums(elements=40, sum_x2=400.0, sum_y2=400.0, sum_err2=1.0 + 5 * (index % 4))
    outputs = {name: replace(seen, errors=errors) for name, seen in plain.outputs.items()}
    return replace(plain, outputs=outputs, stage_seconds={"numerical": 0.5 + index})


def result(index: int) -> CaseResult:
    """Of three kinds: most are observed, some crashed, some could not run."""
    one = PLAN.cases[index]
    if index % 11 == 5:
        failure = RunFailure(kind="crash", stage="open", message="gone", last_output="a\nb")
        return CaseResult(case=one, failure=failure)
    if index % 11 == 7:
        return CaseResult(case=one, skipped="the package x is not installed")
    return CaseResult(case=one, observation=observed(index))


def write_shard(folder: Path, part: Part | None) -> Path:
    folder.mkdir(parents=True)
    cases = PLAN.cases if part is None else part.cases
    store = RunStore(folder, cases, not_applicable=PLAN.not_applicable, part=part)
    wanted = {c.id for c in cases}
    for index, one in enumerate(PLAN.cases):
        if one.id in wanted:
            store.save(result(index))
            store.log(one.id).write_text(f"log of {one.id}\n")
    store.close()
    return folder


@pytest.fixture(params=["alone", "in copies"])
def shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[int], list[Path]]:
    """Runs of so many shards, to be merged by one process or by copies of it."""
    if request.param == "in copies":
        monkeypatch.setattr(parallel, "MANY", 2)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2}, raising=False)
        monkeypatch.setattr(parallel, "other_threads", lambda: False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\n")

    def make(count: int, costs: Costs | None = None) -> list[Path]:
        folder = tmp_path / f"of-{count}"
        return [
            write_shard(
                folder / str(index),
                part_of(PLAN, Shard(index=index, count=count), costs or Costs()),
            )
            for index in range(1, count + 1)
        ]

    return make


def merged(runs: list[Path] | list[str], out: Path, *more: str) -> int:
    options = ["--out", str(out / "run"), "--json-file", str(out / "report.json")]
    options += ["--junit", str(out / "junit.xml"), "--markdown", str(out / "report.md")]
    options += ["--sarif", str(out / "report.sarif"), "--badge", str(out / "badge.json")]
    options += ["--html", str(out / "report.html")]
    return main(["merge", *map(str, runs), *options, *more])


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in REPORTS}


def test_1_2_5_and_16_shards_and_a_whole_run_give_the_same_bytes(
    shards: Callable[[int], list[Path]], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    expected_code = merged([write_shard(tmp_path / "unsharded", None)], whole)
    assert expected_code == ExitCode.INFRASTRUCTURE  # some cases crashed
    for count in (1, 2, 5, 16):
        out = tmp_path / f"out-{count}"
        # In any order, and by the folder that holds them.
        given = shards(count)[::-1] if count != 5 else [shards(count)[0].parent]
        assert merged(given, out) == expected_code
        assert contents(out) == contents(whole), count
        assert read_run(out / "run") == [result(index) for index in range(CASES)]
        logs = sorted(path.read_text() for path in (out / "run" / "logs").iterdir())
        assert logs == sorted(f"log of {one.id}\n" for one in PLAN.cases)
    document = json.loads((whole / "report.json").read_text())
    assert [entry["id"] for entry in document["cases"]] == [one.id for one in PLAN.cases]
    assert document["not_applicable"] == [{"id": "spec0/x@torch", "reason": "no such format"}]


def test_the_merged_run_is_judged_like_any_other(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged(list(shards(3)), tmp_path / "out")
    capsys.readouterr()
    main(["judge", str(tmp_path / "out" / "run"), "--json"])
    again = json.loads(capsys.readouterr().out)
    first = json.loads((tmp_path / "out" / "report.json").read_text())
    assert again["cases"] == first["cases"]


def test_a_missing_shard_makes_its_cases_errors(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = list(shards(5))
    lost = runs.pop(2)
    names = [c.id for c in PLAN.cases if result_path(lost, c.id).exists()]
    assert merged(list(runs), tmp_path / "out") == ExitCode.INFRASTRUCTURE
    assert "shard 3/5 is missing" in capsys.readouterr().err
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(document["cases"]) == CASES
    failures = {c["id"]: c["failure"]["message"] for c in document["cases"] if c["failure"]}
    for name in names:
        assert "shard 3/5 is missing" in failures[name]


def test_a_missing_result_makes_its_case_an_error(
    shards: Callable[[int], list[Path]], tmp_path: Path
) -> None:
    runs = shards(2)
    gone = next(run for run in runs if result_path(run, PLAN.cases[0].id).exists())
    result_path(gone, PLAN.cases[0].id).unlink()
    assert merged(list(runs), tmp_path / "out") == ExitCode.INFRASTRUCTURE
    first = json.loads((tmp_path / "out" / "report.json").read_text())["cases"][0]
    assert first["failure"]["kind"] == "no-result"
    assert first["outcome"] == "ERROR"


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[1]", "null"])
def test_a_broken_result_makes_its_case_an_error(
    shards: Callable[[int], list[Path]], tmp_path: Path, text: str
) -> None:
    runs = shards(2)
    broken = next(run for run in runs if result_path(run, PLAN.cases[0].id).exists())
    result_path(broken, PLAN.cases[0].id).write_text(text)
    assert merged(list(runs), tmp_path / "out") == ExitCode.INFRASTRUCTURE
    first = json.loads((tmp_path / "out" / "report.json").read_text())["cases"][0]
    assert "cannot be read" in first["failure"]["message"]


def test_a_result_under_another_name_makes_its_case_an_error(
    shards: Callable[[int], list[Path]], tmp_path: Path
) -> None:
    (run,) = shards(1)
    shutil.copyfile(result_path(run, PLAN.cases[1].id), result_path(run, PLAN.cases[0].id))
    merged([run], tmp_path / "out")
    first = json.loads((tmp_path / "out" / "report.json").read_text())["cases"][0]
    assert "belongs to another case" in first["failure"]["message"]


def refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    assert merged(list(runs), tmp_path / "refused", *more) == ExitCode.INFRASTRUCTURE
    assert not (tmp_path / "refused" / "report.json").exists()
    return capsys.readouterr().err


def test_the_same_shard_twice_is_refused(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shards(2)
    copy = tmp_path / "copy"
    shutil.copytree(runs[0], copy)
    assert "is shard 1/2, and so is" in refused([*runs, copy], tmp_path, capsys)


def test_shards_of_different_numbers_plans_costs_or_versions_are_refused(
    shards: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two, three = shards(2), shards(3)
    assert "is shard 3/3, but" in refused([two[0], three[2]], tmp_path, capsys)

    def edit(run: Path, change: Callable[[Any], None], file: str = RUN_FILE) -> Path:
        changed = tmp_path / f"edited-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(run, changed)
        document = json.loads((changed / file).read_text())
        change(document)
        (changed / file).write_text(json.dumps(document))
        return changed

    other_plan = edit(two[1], lambda d: d["shard"].update(plan_digest="0" * 64))
    assert "of another plan" in refused([two[0], other_plan], tmp_path, capsys)
    older = edit(two[1], lambda d: d.update(gate_version="0.0.1"))
    assert "was run by gate 0.0.1" in refused([two[0], older], tmp_path, capsys)
    # Both shards agree on a digest that is not the plan's.
    lies = [edit(run, lambda d: d["shard"].update(plan_digest="0" * 64)) for run in two]
    assert "is not that of the plan itself" in refused(lies, tmp_path, capsys)
    cut = edit(two[0], lambda d: d["cases"].pop(), PLAN_FILE)
    assert "is not that of the plan" in refused([cut, two[1]], tmp_path, capsys)


def test_shards_divided_by_different_costs_are_refused(
    shards: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = Costs(known={PLAN.cases[4].id: 1e4, PLAN.cases[9].id: 9e3})
    one = shards(2)[0]
    moved = tmp_path / "moved"
    one.rename(moved)
    shutil.rmtree(tmp_path / "of-2")
    other = shards(2, costs)[1]
    assert "divided by different costs" in refused([moved, other], tmp_path, capsys)


def test_results_that_nobody_planned_are_refused(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shards(2)
    (runs[0] / "results" / "extra.json").write_text(json.dumps(to_plain(result(0))))
    assert "results that it did not plan: extra.json" in refused(runs, tmp_path, capsys)


def test_another_plan_than_the_expected_one_is_refused(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shards(2)
    told = refused(runs, tmp_path, capsys, "--plan-digest", "f" * 64)
    assert "of another plan than the one expected" in told


def test_a_run_is_not_merged_into_itself(
    shards: Callable[[int], list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shards(2)
    assert main(["merge", *map(str, runs), "--out", str(runs[0])]) == ExitCode.INFRASTRUCTURE
    assert "is one of the runs to merge" in capsys.readouterr().err
    assert (runs[0] / RUN_FILE).is_file()


def test_shards_of_machines_whose_files_lie_elsewhere_are_merged(
    shards: Callable[[int], list[Path]], tmp_path: Path
) -> None:
    """What differs is where the second machine has its checkout."""
    runs = shards(2)
    for file in runs[1].rglob("*.json"):
        document = json.loads(file.read_text())
        for one in [
            *document.get("cases", []),
            *([document["case"]] if "case" in document else []),
        ]:
            one["model"]["options"]["weights"] = "/there/w.bin"
        file.write_text(json.dumps(document))
    for file in runs[0].rglob("*.json"):
        document = json.loads(file.read_text())
        for one in [
            *document.get("cases", []),
            *([document["case"]] if "case" in document else []),
        ]:
            one["model"]["options"]["weights"] = "/here/w.bin"
        file.write_text(json.dumps(document))
    plan = json.loads((runs[0] / PLAN_FILE).read_text())
    others = PLAN.not_applicable
    written = [to_json(one) for one in plan["cases"]]
    for run in runs:
        document = json.loads((run / RUN_FILE).read_text())
        document["shard"]["plan_digest"] = written_digest(written, others)
        (run / RUN_FILE).write_text(json.dumps(document))
    assert merged(list(runs), tmp_path / "out") == ExitCode.INFRASTRUCTURE  # of the crashed ones
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["counts"]["ERROR"] == sum(index % 11 == 5 for index in range(CASES))
    assert len(read_run(tmp_path / "out" / "run")) == CASES


def test_costs_are_kept_for_later_partitions(
    shards: Callable[[int], list[Path]], tmp_path: Path
) -> None:
    merged(list(shards(2)), tmp_path / "out", "--write-costs", str(tmp_path / "gate-costs.json"))
    known = read_costs(tmp_path / "gate-costs.json").known
    assert known[PLAN.cases[3].id] == 3.5
    assert len(known) == sum(result(index).observation is not None for index in range(CASES))


def test_a_folder_without_a_run_is_refused(
    shards: Callable[[int], list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no run" in refused([tmp_path / "empty"], tmp_path, capsys)
