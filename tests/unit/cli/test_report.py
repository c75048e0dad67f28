"""``gate report`` on runs as the engine stores them."""

import webbrowser
from dataclasses import replace

import pytest

from gate.cli.main import main
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.run.store import RunStore
from tests.unit.report.records import case, observation

IDS = ("digits/a@ort-cpu", "digits/b@ort-cpu")


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_dir(project):
    """A run of two cases, one of which crashed; it is the latest."""
    folder = project / ".gate" / "runs" / "latest"
    cases = [replace(case(name), baseline_policy="ignore") for name in IDS]
    store = RunStore(folder, cases)
    store.save(CaseResult(case=cases[0], observation=observation(IDS[0])))
    crash = RunFailure(kind="crash", stage="open", message="ended by signal 11")
    store.save(CaseResult(case=cases[1], failure=crash))
    store.close()
    return folder


def test_the_latest_run_by_default_and_zero_whatever_the_verdict(run_dir, project, capsys):
    assert main(["report"]) == ExitCode.PASS
    assert capsys.readouterr().out == "report.html\n"
    text = (project / "report.html").read_text("utf-8")
    assert "Gate: ERROR" in text
    assert all(name in text for name in IDS)


def test_a_named_run_and_file(run_dir, project):
    moved = run_dir.rename(project / "elsewhere")
    target = project / "new" / "page.html"
    assert main(["report", str(moved), "--html", str(target)]) == ExitCode.PASS
    assert target.read_text("utf-8").startswith("<!doctype html>")


def test_it_is_shown_when_asked(run_dir, project, monkeypatch):
    shown = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert main(["report", "--open"]) == ExitCode.PASS
    assert shown == [(project / "report.html").as_uri()]


def test_no_run_is_said(project, capsys):
    assert main(["report"]) == ExitCode.INFRASTRUCTURE
    assert "gate report: " in capsys.readouterr().err
    assert not (project / "report.html").exists()
