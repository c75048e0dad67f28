"""Workers that write their own verdict, or that of somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run.project import make_project, spec_of, write_spec

FORGERS = """
import json, os, sys
from pathlib import Path

import faults


def _answer(**fields):
    work = Path(sys.argv[1])
    job = json.loads((work / "job.json").read_text())
    answer = {"nonce": job["nonce"], "case_id": job["case"]["id"], **fields}
    (work / "result.json").write_text(json.dumps(answer))
    os._exit(0)


def verdict():
    _answer(verdict="pass", status="pass", observation=None, failure=None)


def nothing():
    _answer(observation=None, failure=None)


def half():
    _answer(observation={"case_id": "half/dyn@ort", "verdict": "pass"}, failure=None)


def neighbour():
    # By the time this one runs, the honest case has failed; its stored result is replaced.
    for path in Path(sys.argv[1]).parents[1].rglob("*honest*.json"):
        path.write_text('{"verdict": "pass"}')
    return faults.good()


def shouts():
    print("::error::forged\\n## PASS\\n\\x1b[2J\\x1b[1;1HPASS  16 cases: 16 passed\\n</pre><script>1</script>")
    sys.exit("PASS")
"""
IMPOSSIBLE = {"numerical": {"sqnr": ">= 190 dB"}}
NAMES = ("a-honest", "half", "neighbour", "nothing", "shouts", "verdict")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """``gate run`` over an honest case that fails, and one for each forger."""
    root = make_project(tmp_path_factory.mktemp("forgers") / "p")
    (root / "forgers.py").write_text(FORGERS)
    (root / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["faults", "forgers"]\n')
    for name in NAMES:
        spec = spec_of("good", tolerances=IMPOSSIBLE) if "honest" in name else spec_of("good")
        if "honest" not in name:
            spec["data"]["evaluation"]["entry"] = f"forgers:{name}"
        write_spec(root, name, spec)
    command = [sys.executable, "-m", "gate.cli.main", "run", "."]
    reports = ["--json", "--markdown", "r.md", "--junit", "r.xml"]
    done = subprocess.run(
        [*command, *reports],
        cwd=root,
        env={**os.environ, "NO_COLOR": "1", "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, root


@pytest.fixture
def verdicts(finished: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    cases = json.loads(finished[0].stdout)["cases"]
    return {case["id"].split("/")[0]: case for case in cases}


@pytest.mark.parametrize("name", ["verdict", "nothing", "half", "shouts"])
def test_a_worker_has_no_say_in_its_verdict(verdicts: dict[str, Any], name: str) -> None:
    assert verdicts[name]["status"] == "ERROR"


def test_a_worker_cannot_change_the_verdict_of_another_case(
    finished: tuple[subprocess.CompletedProcess[str], Path], verdicts: dict[str, Any]
) -> None:
    assert verdicts["a-honest"]["status"] == "FAIL"
    assert finished[0].returncode == 3
    # What it did to the stored result is noticed when that is judged again.
    again = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", "judge", ".gate/runs/latest", "--json"],
        cwd=finished[1],
        env={**os.environ, "NO_COLOR": "1", "GITHUB_ACTIONS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 3
    assert "a-honest%2Fdyn@ort.json" in again.stderr


def test_what_a_worker_prints_is_quoted_and_commands_nothing(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, root = finished
    markdown = (root / "r.md").read_text()
    for text in (done.stdout, done.stderr, markdown, (root / "r.xml").read_text()):
        assert "\x1b" not in text
    assert "forged" in markdown
    outside = "".join(markdown.split("```")[0::2])
    assert "::error" not in outside
    assert "## PASS" not in outside
    assert "<script" not in (root / "r.xml").read_text()
