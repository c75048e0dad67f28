"""The scripts of the actions, step by step, as GitHub would call them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.github.runner import ROOT, Runner, Steps, read_values

ACTIONS = ROOT / ".github" / "actions"
SHA = "0123456789abcdef0123456789abcdef01234567"


def module(path: Path) -> ModuleType:
    sys.path.insert(0, str(ACTIONS / "gate"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def gate_action() -> ModuleType:
    return module(ACTIONS / "gate" / "gate_action.py")


@pytest.fixture
def change() -> ModuleType:
    return module(ACTIONS / "change" / "change.py")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    file = tmp_path / "outputs"
    file.touch()
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    monkeypatch.chdir(tmp_path)
    return lambda: read_values(file)


# --- the gate's own steps ------------------------------------------------------------------------------


def test_an_output_may_hold_anything(
    gate_action: ModuleType, outputs: Callable[[], dict[str, str]]
) -> None:
    values = {"a": "one\ntwo=3\nEOF", "b": "<<x", "c": ""}
    gate_action.output(values)
    assert outputs() == values


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GATE_COMMAND", "rm", "expected run, plan or merge"),
        ("GATE_SPECS", " ", "name at least one spec"),
        ("GATE_BASELINE", "accept", "expected require, record, ignore"),
        ("GATE_POLICY", "allow-everything", "expected require or allow-inconclusive"),
        ("GATE_REPORT", ".", "is there already and not empty"),
    ],
)
def test_an_input_that_makes_no_sense_is_said(  # noqa: PLR0917 - fixtures
    gate_action: ModuleType,
    outputs: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.setenv("GATE_SPECS", "specs/")
    monkeypatch.setenv(name, value)
    assert gate_action.main(["gate"]) == 2
    assert told in capsys.readouterr().out


def test_a_path_or_glob_that_looks_like_an_option_is_none(
    gate_action: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_SPECS", "--help specs/")
    monkeypatch.setenv("GATE_SELECT", "--out=x\na*/b  c*/d")
    assert gate_action.specs() == ["./--help", "specs/"]
    assert gate_action.selection() == ["--select=--out=x", "--select=a*/b", "--select=c*/d"]


def test_a_glob_names_the_specs_that_match_and_no_fragment(
    gate_action: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell sees the input or the names of the files."""
    for name in ("b.yaml", "a $(x).yaml", "_shared.yaml", "-c.yaml", "a.txt", "below/d.yaml"):
        (tmp_path / "specs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "specs" / name).touch()
    (tmp_path / "-c.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATE_SPECS", "specs/*.yaml specs/below -*.yaml")
    assert gate_action.specs() == [
        "specs/-c.yaml", "specs/a $(x).yaml", "specs/b.yaml", "specs/below", "./-c.yaml",
    ]  # fmt: skip
    monkeypatch.setenv("GATE_SPECS", "specs/*.yml")
    with pytest.raises(gate_action.InputError, match="matches nothing"):
        gate_action.specs()


@pytest.mark.parametrize(("text", "code"), [("0", 0), ("1", 1), ("4", 4), ("", 3), ("x", 3)])
def test_a_step_that_did_not_finish_is_no_pass(
    gate_action: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, code: int
) -> None:
    monkeypatch.setenv("GATE_EXIT_CODE", text)
    assert gate_action.main(["decide"]) == code


def test_what_ends_well_without_a_report_is_no_pass(
    gate_action: ModuleType,
    outputs: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ``gate merge --help`` would, and whatever else ends with 0."""
    monkeypatch.setattr(gate_action, "gate_command", lambda: ["true"])
    monkeypatch.setenv("GATE_SPECS", "specs/")
    assert gate_action.main(["gate"]) == 0
    assert (outputs()["exit-code"], outputs()["verdict"]) == ("3", "error")
    assert "left no report" in capsys.readouterr().out


def test_a_shard_may_be_empty(
    gate_action: ModuleType,
    outputs: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate_action, "gate_command", lambda: ["true"])
    monkeypatch.setenv("GATE_SPECS", "specs/")
    monkeypatch.setenv("GATE_SHARD", "2/2")
    assert gate_action.main(["gate"]) == 0
    assert outputs()["exit-code"] == "0"


def test_no_input_is_taken_for_an_option(
    gate_action: ModuleType,
    outputs: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        ("COMMAND", "merge"),
        ("RUNS", "--help"),
        ("PLAN_DIGEST", "--help"),
    ):
        monkeypatch.setenv(f"GATE_{name}", value)
    assert gate_action.main(["gate"]) == 0
    assert outputs()["verdict"] == "error"


GOOD = {
    "GATE_PLAN_RESULT": "success", "GATE_SHARDS_RESULT": "success", "GATE_MERGE_RESULT": "success",
    "GATE_CASES": "3", "GATE_VERDICT": "pass", "GATE_COUNTS": '{"PASS":2,"XFAIL":1,"FAIL":0}',
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATE_PLAN_RESULT", "failure"), ("GATE_SHARDS_RESULT", "cancelled"),
        ("GATE_MERGE_RESULT", "skipped"), ("GATE_CASES", ""), ("GATE_CASES", "0"), ("GATE_CASES", "4"),
        ("GATE_VERDICT", "fail"), ("GATE_VERDICT", ""), ("GATE_COUNTS", ""), ("GATE_COUNTS", "{}"),
        ("GATE_COUNTS", "[]"), ("GATE_COUNTS", '{"PASS":2}'), ("GATE_COUNTS", '{"PASS":null}'),
    ],
)  # fmt: skip
def test_the_required_job_passes_only_where_everything_did(
    gate_action: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for key, text in GOOD.items():
        monkeypatch.setenv(key, text)
    assert gate_action.main(["required"]) == 0
    monkeypatch.setenv(name, value)
    assert gate_action.main(["required"]) == 1


@pytest.mark.parametrize(
    ("extras", "installed"),
    [
        ("torch,onnxruntime", "torch,onnxruntime,html"),
        ("", "html"),
        ("html, torch", "html,torch"),
        ("a;b", None),
        ("x]; rm -rf /", None),
        ("--index-url=x", None),
    ],
)
def test_the_gate_is_installed_from_the_commit_of_the_action(  # noqa: PLR0917 - fixtures
    gate_action: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outputs: Callable[[], dict[str, str]],
    extras: str,
    installed: str | None,
) -> None:
    """pip itself is called; a stand-in for the interpreter writes down with what."""
    _note_words(tmp_path, monkeypatch)
    monkeypatch.setenv("GATE_EXTRAS", extras)
    code = gate_action.main(["install"])
    if installed is not None:
        words = (tmp_path / "words").read_text().splitlines()
        assert code == 0
        assert words[-1] == f"{ROOT}[{installed}]"
        assert words[words.index("-c") + 1] == str(ROOT / "constraints.txt")
    else:
        assert code == 2
        assert not (tmp_path / "words").exists()


def _note_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that writes down with what it is called, one word a line, into ``words``."""
    fake = folder / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > words\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


@pytest.mark.parametrize("given", ["", "pins/ours.txt"])
def test_the_repository_s_own_pins_come_before_the_gate_s(
    gate_action: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outputs: Callable[[], dict[str, str]],
    given: str,
) -> None:
    _note_words(tmp_path, monkeypatch)
    monkeypatch.setenv("GATE_CONSTRAINTS", given)
    own = tmp_path / (given or "constraints.txt")
    assert gate_action.main(["install"]) == (2 if given else 0)  # a file that is named is there
    own.parent.mkdir(exist_ok=True)
    own.write_text("numpy==2.0\n")
    assert gate_action.main(["install"]) == 0
    words = (tmp_path / "words").read_text().splitlines()
    assert tmp_path / words[words.index("-c") + 1] == own


def test_the_composite_action_alone_gates_a_project(accepted: Path, tmp_path: Path) -> None:
    """One job, no shards: lint and plan are not needed to run one case."""
    runner = Runner(accepted, tmp_path)
    workspace = tmp_path / "work"
    shutil.copytree(accepted, workspace)
    environment = runner._environment(workspace)
    contexts: dict[str, Any] = {
        "github": runner.github, "runner": {"os": "Linux", "arch": "X64"}, "matrix": {},
        "strategy": {}, "needs": {},
    }  # fmt: skip
    steps = Steps(contexts=contexts, workspace=workspace, environment=environment)
    # Of an earlier night, whose key was another.
    kept = {"path": ".gate/artifacts", "key": "gate-artifacts-Linux-X64-0"}
    (tmp_path / "night" / ".gate" / "artifacts" / SHA).mkdir(parents=True)
    runner.caches.save(kept, tmp_path / "night")
    options = {"extras": "installed", "python": "", "select": "*/per-tensor@*", "artifact": "mine"}
    outputs, good = runner._composite(ACTIONS / "gate", options, steps)
    assert good, "\n".join(steps.log)
    assert outputs["verdict"] == "pass"
    assert json.loads(outputs["counts"])["PASS"] == 1
    assert (workspace / outputs["report"] / "report.sarif").is_file()
    assert "mine" in runner.artifacts
    assert (workspace / ".gate" / "artifacts" / SHA).is_dir()
    assert "## Gate: ✅ PASS" in "".join(steps.summary)


# --- changes of baselines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "globs", "worse", "reason"),
    [
        (
            f"/gate baseline {SHA[:12]} digits/* because calibration grew",
            ["digits/*"],
            [],
            "calibration grew",
        ),
        (
            f"/gate baseline {SHA} a/b@c d/* because x because y",
            ["a/b@c", "d/*"],
            [],
            "x because y",
        ),
        (
            f"/gate baseline {SHA} d/* accepting worse size device.load_time because two more layers",
            ["d/*"],
            ["size", "device.load_time"],
            "two more layers",
        ),
    ],
)
def test_a_comment_says_which_commit_which_cases_and_why(
    change: ModuleType, text: str, globs: list[str], worse: list[str], reason: str
) -> None:
    match = change.COMMENT.fullmatch(text)
    assert match["globs"].split() == globs
    assert (match["worse"] or "").split() == worse
    assert match["reason"] == reason


@pytest.mark.parametrize(
    "text",
    ["/gate baseline digits/* because x", f"/gate baseline {SHA[:11]} digits/* because x",
     f"/gate baseline {SHA[:12]} because x", f"/gate baseline {SHA[:12]} digits/*",
     f"/gate baseline {SHA[:12]} digits/* because x\n/gate baseline", f"hi /gate baseline {SHA} a because b",
     f"/gate baseline {SHA[:12]} digits/* because "],
)  # fmt: skip
def test_any_other_comment_is_no_order(change: ModuleType, text: str) -> None:
    assert change.COMMENT.fullmatch(text) is None


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """GitHub's command line, answering from a file."""

    def answer(
        permission: str = "write", sha: str = SHA, repository: str = "someone/project"
    ) -> None:
        head = {"sha": sha, "ref": "feature", "repo": {"full_name": repository}}
        answers = {
            "repos/someone/project/collaborators/ann/permission": {"permission": permission},
            "repos/someone/project/pulls/7": {"head": head},
        }
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "answers.json").write_text(json.dumps(answers))
        script = folder / "gh"
        script.write_text(
            f"#!{sys.executable}\nimport json, sys\n"
            f"print(json.dumps(json.load(open({str(folder / 'answers.json')!r}))[sys.argv[2]]))\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("GITHUB_REPOSITORY", "someone/project")
        monkeypatch.setenv("GATE_STEP", "authorize")
        monkeypatch.setenv("GATE_ACTOR", "ann")
        monkeypatch.setenv("GATE_PULL_REQUEST", "7")
        monkeypatch.setenv("GATE_COMMENT", f"/gate baseline {SHA[:12]} digits/* because it grew")

    return answer


def test_who_may_write_may_order_new_baselines(
    change: ModuleType, api: Callable[..., None], outputs: Callable[[], dict[str, str]]
) -> None:
    api()
    assert change.main() == 0
    assert outputs() == {
        "sha": SHA, "branch": "feature", "same-repository": "true", "select": "digits/*",
        "accept-worse": "", "reason": "it grew",
    }  # fmt: skip
    api(repository="ann/fork")
    assert change.main() == 0
    assert outputs()["same-repository"] == "false"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"permission": "read"}, "ann may not write"),
        ({"permission": "none"}, "ann may not write"),
        ({"sha": "f" * 40}, "the head of the pull request is ffffffffffff"),
    ],
)
def test_who_may_not_write_or_has_seen_another_commit_orders_nothing(  # noqa: PLR0917 - fixtures
    change: ModuleType,
    api: Callable[..., None],
    outputs: Callable[[], dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    told: str,
) -> None:
    api(**options)
    assert change.main() == 2
    assert told in capsys.readouterr().out
    assert outputs() == {}


@pytest.mark.parametrize("actor", ["../../x", "a b", "", "ann?x=1"])
def test_a_name_that_is_none_asks_nobody(
    change: ModuleType,
    api: Callable[..., None],
    outputs: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    actor: str,
) -> None:
    api()
    monkeypatch.setenv("GATE_ACTOR", actor)
    assert change.main() == 2


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose remote is a bare repository beside it."""
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(tmp_path, "init", "--quiet", "-b", "feature", "clone")
    clone = tmp_path / "clone"
    (clone / "baselines" / "s").mkdir(parents=True)
    (clone / "baselines" / "s" / "old.json").write_text("1\n")
    (clone / "code.py").write_text("pass\n")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    monkeypatch.setenv("GATE_REMOTE", str(tmp_path / "remote.git"))
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/project")
    monkeypatch.setenv("GATE_FOLDER", "gate-change")
    monkeypatch.setenv("GATE_BRANCH", "feature")
    return clone


def patch_of(clone: Path, change: Callable[[Path], None]) -> None:
    """Leave what ``change`` does as the patch of an earlier job."""
    change(clone)
    git(clone, "add", "-A")
    patch = git(clone, "diff", "--cached", "--binary")
    git(clone, "reset", "-q", "--hard")
    (clone / "gate-change").mkdir()
    (clone / "gate-change" / "change.patch").write_text(patch)
    (clone / "gate-change" / "title.txt").write_text("Accept new baselines: it grew\n")


def new_baselines(clone: Path) -> None:
    (clone / "baselines" / "s" / "old.json").write_text("2\n")
    (clone / "baselines" / "s" / "new.json").write_text("3\n")
    (clone / "constraints.txt").write_text("torch==9\n")


def test_baselines_are_pushed_to_the_branch(
    change: ModuleType,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outputs: Callable[[], dict[str, str]],
) -> None:
    patch_of(repository, new_baselines)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "push")
    monkeypatch.setenv("GATE_SHA", git(repository, "rev-parse", "HEAD").strip())
    assert change.main() == 0
    remote = tmp_path / "remote.git"
    assert git(remote, "log", "-1", "--format=%s", "feature") == "Accept new baselines: it grew\n"
    assert git(remote, "show", "feature:baselines/s/new.json") == "3\n"


def test_a_branch_that_moved_on_is_left_alone(
    change: ModuleType,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patch_of(repository, new_baselines)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "push")
    monkeypatch.setenv("GATE_SHA", SHA)
    assert change.main() == 2
    assert "has moved on" in capsys.readouterr().out


def other_file(clone: Path) -> None:
    (clone / "code.py").write_text("import os\n")


def workflow(clone: Path) -> None:
    (clone / ".github").mkdir()
    (clone / ".github" / "x.yml").write_text("on: push\n")


def link(clone: Path) -> None:
    (clone / "baselines" / "link.json").symlink_to("../code.py")


def executable(clone: Path) -> None:
    (clone / "baselines" / "run.json").write_text("#!/bin/sh\n")
    (clone / "baselines" / "run.json").chmod(0o755)


def renamed(clone: Path) -> None:
    (clone / "code.py").rename(clone / "baselines" / "code.json")


@pytest.mark.parametrize("planted", [other_file, workflow, link, executable, renamed])
def test_a_patch_that_changes_anything_else_is_refused(
    change: ModuleType,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planted: Callable[[Path], None],
) -> None:
    def both(clone: Path) -> None:
        new_baselines(clone)
        planted(clone)

    patch_of(repository, both)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "push")
    monkeypatch.setenv("GATE_SHA", git(repository, "rev-parse", "HEAD").strip())
    assert change.main() == 2
    assert git(tmp_path / "remote.git", "branch", "--list") == ""


@pytest.mark.parametrize(
    "name", ["-x", "../pins", "/pins", ".github/x.yml", "a b", ":(top)", "a//b"]
)
def test_pins_that_are_no_plain_file_of_the_repository_are_refused(
    change: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    patch_of(repository, new_baselines)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "propose")
    monkeypatch.setenv("GATE_BRANCH", "gate/upgrade")
    monkeypatch.setenv("GATE_CONSTRAINTS", name)
    assert change.main() == 2


@pytest.mark.parametrize("name", ["", "-x", "../main", "a b", "main:other", "x..y"])
def test_a_branch_that_is_none_is_refused(
    change: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    patch_of(repository, new_baselines)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "propose")
    monkeypatch.setenv("GATE_BRANCH", name)
    assert change.main() == 2


def test_an_upgrade_is_proposed_once_and_then_renewed(
    change: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_of(repository, new_baselines)
    (repository / "gate-change" / "report.md").write_text("# What changed\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gh").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/called\n[ "$2" = list ] && cat {folder}/open\nexit 0\n'
    )
    (folder / "gh").chmod(0o755)
    (folder / "open").write_text("[]")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GATE_STEP", "propose")
    monkeypatch.setenv("GATE_BRANCH", "gate/upgrade")
    assert change.main() == 0
    called = (folder / "called").read_text().splitlines()
    assert called[-1].startswith("pr create --head gate/upgrade --title Accept new baselines")
    assert git(tmp_path / "remote.git", "show", "gate/upgrade:constraints.txt") == "torch==9\n"
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    (folder / "open").write_text('[{"number": 3}]')
    assert change.main() == 0
    assert (folder / "called").read_text().splitlines()[-1].startswith("pr edit gate/upgrade")


def test_a_proposal_says_what_is_left_out_of_it(
    change: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the gate refuses, and nothing pins the versions."""
    fake = tmp_path / "gate"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\nexit 2\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys.modules["gate_action"], "gate_command", lambda: [str(fake)])
    monkeypatch.setattr(change, "newest_versions", lambda names: dict.fromkeys(names, "99.0"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.chdir(repository)
    for name, value in (
        ("STEP", "upgrade"),
        ("SPECS", "specs/"),
        ("PACKAGES", "numpy"),
        ("ACCEPT_WORSE", "size* $(x)\n*"),
    ):
        monkeypatch.setenv(f"GATE_{name}", value)
    assert change.main() == 0
    words = (tmp_path / "words").read_text().splitlines()
    assert words[-3:] == ["--accept-worse=size*", "--accept-worse=$(x)", "--accept-worse=*"]
    report = (repository / "gate-change" / "report.md").read_text("utf-8")
    assert "ended with exit code 2" in report
    assert "There is no constraints.txt, so nothing pins what was compared: numpy==99.0" in report


def test_a_report_longer_than_a_pull_request_may_be_is_cut_at_a_line(change: ModuleType) -> None:
    assert change.fitting_body("short\n") == "short\n"
    text = "".join(f"| case {n} | unchanged |\n" for n in range(5000))
    cut = change.fitting_body(text)
    assert len(cut) <= 65_536
    kept, _, notice = cut.partition("\n\n")
    assert text.startswith(f"{kept}\n")
    assert "whole report" in notice


def test_pins_follow_and_other_lines_stay(change: ModuleType) -> None:
    text = "# tested\nTorch==1.0\nonnxruntime==1.2.0\ntorchvision>=0.1\nnumpy==2.0\n"
    assert change.repinned(text, {"torch": "2.0+cpu", "onnxruntime": "1.3.0"}) == (
        "# tested\nTorch==2.0\nonnxruntime==1.3.0\ntorchvision>=0.1\nnumpy==2.0\n"
    )
