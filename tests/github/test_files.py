"""The YAML itself: GitHub's schema, pins, permissions, and nothing of an event in a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.github import project
from tests.github.bare import bare
from tests.github.runner import ROOT, load

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
FILES = [*WORKFLOWS, *ACTIONS]
WRITES = {
    ("upgrade.yml", "propose"): {"contents": "write", "pull-requests": "write"},
    ("baseline.yml", "push"): {"contents": "write"},
    ("gate.yml", "scan"): {"contents": "read", "security-events": "write"},
}


def tool(name: str) -> str:
    """A command that is installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


def ids(path: Path) -> str:
    return path.relative_to(ROOT / ".github").as_posix()


def steps(document: Any) -> list[Any]:
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_github_would_accept_it(path: Path) -> None:
    kind = "github-actions" if path.name == "action.yml" else "github-workflows"
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", f"vendor.{kind}", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linters_find_nothing() -> None:
    actionlint = [tool("actionlint"), "-pyflakes=", "-shellcheck", tool("shellcheck")]
    for command in (actionlint, [tool("zizmor"), "--offline", "--quiet", ".github"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_every_action_is_pinned_by_a_full_sha_with_its_version_beside_it(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        found = re.match(r"\s*(?:- )?uses: (.*)", line)
        if found and not found[1].startswith("$/"):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", found[1]), line


def test_one_action_has_one_pin() -> None:
    text = "\n".join(path.read_text("utf-8") for path in FILES)
    pins = set(re.findall(r"uses: ([\w./-]+)@([0-9a-f]{40})", text))
    assert len({name for name, _ in pins}) == len(pins)


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_a_workflow_may_do_nothing_and_each_job_the_least(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {}
    assert "pull_request_target" not in document["on"]
    for name, job in document["jobs"].items():
        allowed = job["permissions"]
        wanted = WRITES.get((path.name, name))
        if wanted is not None:
            assert allowed == wanted
        else:
            assert set(allowed.values()) <= {"read"}, f"{path.name}: {name}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_expression_is_written_into_a_script(path: Path) -> None:
    for step in steps(load(path)):
        assert "${{" not in step.get("run", ""), step["run"]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_the_job_summary_is_the_gate_s_own(path: Path) -> None:
    """It appends to it wherever GitHub names the file: a second report there would double the first."""
    for step in steps(load(path)):
        assert "GITHUB_STEP_SUMMARY" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_no_checkout_leaves_its_token_and_every_job_ends(path: Path) -> None:
    document = load(path)
    for step in steps(document):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] == "false"
    for name, job in document["jobs"].items():
        assert "uses" in job or "timeout-minutes" in job, name


def test_jobs_that_write_run_nothing_of_a_change() -> None:
    for name, job_name in (("upgrade.yml", "propose"), ("baseline.yml", "push")):
        job = load(ROOT / ".github" / "workflows" / name)["jobs"][job_name]
        used = [step["uses"].partition("@")[0] for step in job["steps"]]
        assert used == ["actions/checkout", "actions/download-artifact", "$/.github/actions/change"]
        assert job["steps"][-1]["with"]["step"] in {"propose", "push"}


def test_the_order_to_update_baselines_comes_from_who_may_write() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "baseline.yml")["jobs"]
    assert jobs["update"]["needs"] == "authorize"
    checkout = jobs["update"]["steps"][0]["with"]["ref"]
    assert "needs.authorize.outputs.sha" in checkout


def test_the_pre_commit_hook_calls_a_command_that_there_is() -> None:
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    assert hook["entry"] == "gate lint"
    assert hook["pass_filenames"] == "false"
    assert re.search(hook["files"], "specs/models/a.yaml")
    assert not re.search(hook["files"], "docs/a.yaml")


def test_the_pre_commit_hook_runs_where_no_framework_is(tmp_path: Path) -> None:
    """It is installed by itself: with the gate's own dependencies and no extra."""
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    name, *words = [*hook["entry"].split(), *hook["args"]]
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **bare(tmp_path / "machine")}

    def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=home, capture_output=True, text=True, check=False
        )

    frameworks = ("torch", "onnx", "onnxruntime", "PIL", "sklearn", "jinja2", "tensorflow", "keras")
    look = f"from importlib.util import find_spec; print([n for n in {frameworks} if find_spec(n)])"
    assert run([sys.executable, "-c", look], tmp_path).stdout == "[]\n"
    good = run([tool(name), *words], ROOT)
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / "specs").mkdir()
    mistaken = project.SPEC.replace("top1_drop", "top1_dropp")
    (tmp_path / "specs" / "digits.yaml").write_text(mistaken)
    bad = run([tool(name), *words], tmp_path)
    assert bad.returncode == 2
    assert f"specs/digits.yaml:{project.line_of('top1_drop:')}:" in bad.stdout + bad.stderr


def test_every_input_of_the_action_is_used_and_every_output_is_one_of_a_step() -> None:
    for path in ACTIONS:
        text = path.read_text("utf-8")
        for name in load(path)["inputs"]:
            assert f"inputs.{name} " in text, f"{path}: {name}"
