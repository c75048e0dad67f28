"""``gate upgrade`` and ``gate bisect`` on real runs: the same stack twice, and a planted commit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.e2e.project import ROOT, Project, make_candidate

CASE = "digits/given@ort-cpu"
SPECS = ("pyproject.toml", "digits.yaml", "candidate.onnx")


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_candidate(tmp_path_factory.mktemp("made")).path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the gate and of the entries: what is kept is made anew after an edit of either, and
    somebody may edit the checkout while its tests run."""
    home = tmp_path_factory.mktemp("sources")
    only_python = shutil.ignore_patterns("__pycache__", "weights", "bench", "unit")
    for package in ("gate", "specs", "tests"):
        shutil.copytree(ROOT / package, home / package, ignore=only_python)
    return home


@pytest.fixture
def project(tmp_path: Path, candidate: Path, sources: Path) -> Project:
    made = Project(tmp_path / "project", sources=sources)
    shutil.copyfile(candidate, made.candidate)
    # Only numbers are asked for: no time is spent on timing.
    text = made.spec.read_text()
    start = text.index("  device:")
    made.spec.write_text(text[:start].replace("baseline: require", "baseline: ignore"))
    text = made.spec.read_text().replace(', ">= baseline - 1 dB"', "")
    made.spec.write_text(text)
    return made


def _commit(project: Project, message: str) -> str:
    _git(project.folder, "add", *SPECS)
    _git(project.folder, "commit", "-q", "--allow-empty", "-m", message)
    return _git(project.folder, "rev-parse", "HEAD")


def _damage(path: Path) -> None:
    """Every scale of weights 30 % too large: a bad quantizer, committed."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_scale") and "weight" in tensor.name:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((values * 1.3).astype(np.float32), tensor.name))
    onnx.save(model, path)


def test_the_same_stack_twice_changes_nothing(project: Project) -> None:
    arguments = ("--new", sys.executable, "--specs", "digits.yaml", "--select", CASE)
    done = project.gate("upgrade", *arguments, "--report", "up.md", json_output=True)
    assert done.code == 0, done.output
    (found,) = done.report["cases"]
    assert found["causes"] == ["unchanged"]
    assert done.report["changes"] == []
    assert set(found["cells"]) == {"old-made", "new-stored", "new-made"}
    assert CASE.replace("_", "\\_") in (project.folder / "up.md").read_text()
    # A second time, every cell is taken from the first.
    runs = sorted(project.folder.glob(".gate/upgrades/*/*/*/run.json"))
    before = [run.stat().st_mtime_ns for run in runs]
    assert len(before) == 3
    again = project.gate("upgrade", *arguments, json_output=True)
    assert again.report["cases"] == done.report["cases"]
    assert [run.stat().st_mtime_ns for run in runs] == before


def test_a_comparison_that_was_killed_goes_on(project: Project) -> None:
    arguments = ("upgrade", "--new", sys.executable, "--specs", "digits.yaml", "--select", CASE)
    begun = subprocess.Popen(
        [sys.executable, "-m", "gate.cli.main", *arguments],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ended = time.monotonic() + 120
    while not (done := sorted(project.folder.glob(".gate/upgrades/*/*/old-made/done.json"))):
        assert begun.poll() is None
        assert time.monotonic() < ended
        time.sleep(0.02)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    before = done[0].stat().st_mtime_ns
    assert len(list(project.folder.glob(".gate/upgrades/*/*/*/done.json"))) < 3
    again = project.gate(*arguments, json_output=True)
    assert again.code == 0, again.output
    assert again.report["cases"][0]["causes"] == ["unchanged"]
    assert done[0].stat().st_mtime_ns == before, "what was done is not done again"


def test_nothing_to_upgrade_is_a_mistake(project: Project) -> None:
    done = project.gate("upgrade")
    assert done.code == 2
    assert "name what is upgraded" in done.output


@pytest.mark.slow
def test_a_planted_commit_is_found(project: Project) -> None:
    _git(project.folder, "init", "-q", "-b", "main")
    (project.folder / ".git" / "info" / "exclude").write_text(".gate/\n")
    good = _commit(project, "accept the candidate")
    for number in range(2):
        _commit(project, f"unrelated {number}")
    _damage(project.candidate)
    planted = _commit(project, "requantize")
    spec = project.spec.read_text()
    project.spec.write_text("version: 1\nnot a spec\n")
    _commit(project, "break the spec")
    project.spec.write_text(spec)
    bad = _commit(project, "mend the spec")
    done = project.gate(
        *("bisect", "digits.yaml", "--case", CASE, "--commits"),
        *("--good", good, "--bad", bad, "--check", "sqnr", "--repeats", "1"),
        json_output=True,
    )
    assert done.code == 0, done.output
    assert done.report["first_bad"] == planted
    assert done.report["skipped_between"] == []
    assert len(done.report["outcomes"]) < len(done.report["history"])
    # The repository is as it was, and what was learnt is kept.
    assert _git(project.folder, "status", "--porcelain") == ""
    assert len(_git(project.folder, "worktree", "list").splitlines()) == 1
    journal = json.loads(next(project.folder.glob(".gate/bisects/*/bisect.json")).read_text())
    assert journal == done.report["outcomes"]
