"""The workflows that change baselines, whole: from an order, or a new version, to a pushed commit."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest

from tests.github import project
from tests.github.bare import asked_of_pip, bare
from tests.github.runner import Job, Runner
from tests.wheels import write_wheel

Order = Callable[..., dict[str, Job]]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(accepted: Path, tmp_path: Path) -> Path:
    """The project as a clone on the branch ``feature``; its remote is a bare repository beside it."""
    clone = tmp_path / "repository"
    subprocess.run(["cp", "-r", str(accepted), str(clone)], check=True)
    (clone / "constraints.txt").write_text("tabulate==0.1\nnumpy==2.0\n")
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(clone, "init", "--quiet", "-b", "feature")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    return clone


def fake_gh(folder: Path, answers: dict[str, object]) -> Path:
    """GitHub's command line with fixed answers; what it was called with is kept in ``called``, and
    the last text that it was given in ``body.md``."""
    folder.mkdir()
    (folder / "answers.json").write_text(json.dumps(answers))
    script = folder / "gh"
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\n"
        f"home = Path({str(folder)!r})\n"
        "with (home / 'called').open('a') as log:\n    print(*sys.argv[1:], file=log)\n"
        "if '--body-file' in sys.argv:\n"
        "    text = Path(sys.argv[sys.argv.index('--body-file') + 1]).read_text()\n"
        "    (home / 'body.md').write_text(text)\n"
        "answers = json.loads((home / 'answers.json').read_text())\n"
        "print(json.dumps(answers.get(' '.join(sys.argv[1:3]))))\n"
    )
    script.chmod(0o755)
    return folder


def grow(repository: Path) -> None:
    """A candidate that says the same in a longer file."""
    path = repository / "specs" / "per_channel.onnx"
    model = onnx.load(path)
    model.doc_string = "longer " * 2000
    onnx.save(model, path)
    git(repository, "commit", "-qam", "Grow")


@pytest.fixture
def order(repository: Path, tmp_path: Path) -> Order:
    """Runs baseline.yml for a comment of somebody who may write; ``SHA`` in it is the head commit.
    With ``inputs`` the workflow of another repository calls it, on machines with nothing installed."""

    def run(comment: str, inputs: Mapping[str, object] | None = None) -> dict[str, Job]:
        sha = git(repository, "rev-parse", "HEAD")
        head = {"sha": sha, "ref": "feature", "repo": {"full_name": "someone/project"}}
        answers = {
            "api repos/someone/project/collaborators/ann/permission": {"permission": "write"},
            "api repos/someone/project/pulls/7": {"head": head},
        }
        event = {
            "issue": {"number": 7, "pull_request": {"url": "x"}},
            "comment": {"body": comment.replace("SHA", sha[:12]), "user": {"login": "ann"}},
        }
        runner = Runner(
            repository,
            tmp_path / "run",
            event=event,
            path=[fake_gh(tmp_path / "bin", answers)],
            environment={
                "GATE_REMOTE": str(tmp_path / "remote.git"),
                **(bare(tmp_path / "machine") if inputs is not None else {}),
            },
            variables={"GATE_EXTRAS": "installed"},
        )
        runner.github["event_name"] = "issue_comment"
        return runner.run("baseline.yml", inputs, called=inputs is not None)

    return run


def test_a_comment_that_accepts_what_gets_worse_is_pushed_to_the_branch(
    repository: Path, order: Order, tmp_path: Path
) -> None:
    grow(repository)
    jobs = order(
        "/gate baseline SHA digits/per-channel@* accepting worse size* because it is documented"
    )
    assert {name: job.result for name, job in jobs.items()} == dict.fromkeys(
        ("authorize", "update", "push"), "success"
    ), jobs["update"].log + jobs["push"].log
    remote = tmp_path / "remote.git"
    assert git(remote, "log", "-1", "--format=%s", "feature") == (
        "Accept new baselines: it is documented"
    )
    changed = git(remote, "diff", "--name-only", "feature~1", "feature").splitlines()
    assert [Path(name).parts[:3] for name in changed] == [
        ("baselines", "digits", "per-channel@ort-cpu")
    ]


def test_a_comment_does_not_loosen_silently(repository: Path, order: Order, tmp_path: Path) -> None:
    grow(repository)
    called = {"specs": "specs/*.yaml", "extras": "onnxruntime", "select": "", "reason": ""}
    jobs = order("/gate baseline SHA digits/* because it is documented", called)
    assert {name: job.result for name, job in jobs.items()} == {
        "authorize": "success",
        "update": "failure",
        "push": "skipped",
    }
    assert "--accept-worse device.size" in jobs["update"].log
    assert git(tmp_path / "remote.git", "branch", "--list") == ""
    asked = asked_of_pip(tmp_path / "run", "update")
    assert asked["extras"] == ["onnxruntime", "html"]
    # Those of the repository, not of the gate.
    assert Path(asked["constraints"]).parts[-2:] == ("work", "constraints.txt")


def test_an_update_by_hand_is_pushed_to_the_branch_it_was_started_on(
    repository: Path, tmp_path: Path
) -> None:
    grow(repository)
    runner = Runner(
        repository,
        tmp_path / "run",
        environment={"GATE_REMOTE": str(tmp_path / "remote.git")},
        variables={"GATE_EXTRAS": "installed"},
    )
    sha = git(repository, "rev-parse", "HEAD")
    runner.github |= {"event_name": "workflow_dispatch", "ref_name": "feature", "sha": sha}
    given = {
        "select": "digits/per-channel@*",
        "accept-worse": "size*",
        "reason": "it is $(documented) `now`",
    }
    jobs = runner.run("baseline.yml", given, called=False)
    assert {name: job.result for name, job in jobs.items()} == {
        "authorize": "skipped",
        "update": "success",
        "push": "success",
    }, jobs["update"].log + jobs["push"].log
    told = git(tmp_path / "remote.git", "log", "-1", "--format=%s", "feature")
    assert told == "Accept new baselines: it is $(documented) `now`"


def newer_tabulate(folder: Path) -> Path:
    """A wheel of the tabulate that is installed, under a version that nobody has yet, and with a
    constant that nobody had."""
    folder.mkdir()
    spec = importlib.util.find_spec("tabulate")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent
    modules = {f"tabulate/{path.name}": path.read_text("utf-8") for path in home.glob("*.py")}
    modules["tabulate/__init__.py"] += "\nSCALE = 1.05\n"
    write_wheel(folder, "tabulate", "99.0", modules)
    return folder


READ = """import tabulate
import numpy as np
from pathlib import Path

def evaluation():
    data = np.load(Path(__file__).with_name("data.npz"))
    return data["x"] * np.float32(getattr(tabulate, "SCALE", 1)), data["y"]
"""


@pytest.fixture
def prepared(repository: Path) -> Path:
    """With a second spec, whose samples are what the installed tabulate makes of them; each has one
    case."""
    (repository / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["specs"]\n')
    specs = repository / "specs"
    (specs / "samples.py").write_text(READ)
    one = project.SPEC.replace("  per-tensor: {method: candidate, path: per_tensor.onnx}\n", "")
    (specs / "digits.yaml").write_text(one)
    shutil.rmtree(repository / "baselines" / "digits" / "per-tensor@ort-cpu")
    made = one.replace(
        "{source: npz, path: data.npz, inputs: x, labels: y}",
        '{source: python, entry: "specs.samples:evaluation"}',
    )
    # Compared with the accepted candidate, which is kept for that.
    made += '    latency_p50: "<= baseline + 1000 %"\n'
    (specs / "made.yaml").write_text(made.replace("id: digits\n", "id: made\n"))
    project.record(repository)
    shutil.rmtree(repository / ".gate")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Make samples")
    return repository


def sqnr(baseline: str) -> float:
    (value,) = [
        v["value"]
        for v in json.loads(baseline)["values"]
        if (v["tier"], v["metric"], v["subject"]) == ("numerical", "sqnr", "logits")
    ]
    return float(value)


def test_a_new_version_is_proposed_with_its_report(prepared: Path, tmp_path: Path) -> None:
    bin_ = fake_gh(tmp_path / "bin", {"pr list": []})
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(newer_tabulate(tmp_path / "wheels"))}
    runner = Runner(
        prepared,
        tmp_path / "run",
        path=[bin_],
        environment={**index, "GATE_REMOTE": str(tmp_path / "remote.git")},
    )
    runner.github["event_name"] = "schedule"
    given = {
        "packages": "tabulate", "extras": "installed", "specs": "specs/*.yaml", "accept-worse": "*",
    }  # fmt: skip
    jobs = runner.run("upgrade.yml", given)
    assert jobs["watch"].result == "success", jobs["watch"].log
    assert jobs["propose"].result == "success", jobs["propose"].log
    assert (
        (bin_ / "called")
        .read_text()
        .splitlines()[-1]
        .startswith("pr create --head gate/upgrade --title Upgrade to tabulate 99.0")
    )
    report = (runner.artifacts["gate-change"] / "report.md").read_text("utf-8")
    assert "tabulate" in report
    assert "digits/per-channel@ort-cpu" in report
    assert "unchanged" in report
    remote = tmp_path / "remote.git"
    assert git(remote, "show", "gate/upgrade:constraints.txt") == "tabulate==99.0\nnumpy==2.0"
    # The number that the new version changes, and no other baseline.
    changed = git(remote, "diff", "--name-only", "gate/upgrade~1", "gate/upgrade").splitlines()
    (baseline,) = [name for name in changed if name.startswith("baselines/")]
    assert Path(baseline).parts[:3] == ("baselines", "made", "per-channel@ort-cpu")
    before = sqnr(git(remote, "show", f"gate/upgrade~1:{baseline}"))
    assert sqnr(git(remote, "show", f"gate/upgrade:{baseline}")) < before - 0.05
    assert (bin_ / "body.md").read_text("utf-8") == report
    assert "- **reference changed**" in report.partition("### made/per-channel@ort-cpu")[2]
    assert f"{before:.1f} dB -> " in report
    assert "ended with exit code" not in report
    # What was accepted is there the next night.
    candidate = json.loads(git(remote, "show", f"gate/upgrade:{baseline}"))["artifacts"][
        "candidate"
    ]
    kept = runner.caches.files("gate-artifacts-Linux-X64-1")
    assert [name for name in kept if not name.startswith(".")] == [
        f"{candidate}/artifact.json", f"{candidate}/per_channel.onnx",
    ]  # fmt: skip


def test_the_watch_compares_with_the_pins_of_the_repository(
    repository: Path, tmp_path: Path
) -> None:
    """Nothing is newer here; what was installed before is looked at, and what it found."""
    runner = Runner(repository, tmp_path / "run", environment=bare(tmp_path / "machine"))
    night = tmp_path / "night" / ".gate" / "artifacts" / "a" / "artifact.json"
    night.parent.mkdir(parents=True)
    night.write_text("{}")
    last = {"path": ".gate/artifacts", "key": "gate-artifacts-Linux-X64-0"}
    runner.caches.save(last, tmp_path / "night")
    runner.github["event_name"] = "schedule"
    jobs = runner.run("upgrade.yml", {"packages": "numpy", "extras": "onnxruntime"})
    assert jobs["watch"].result == "success", jobs["watch"].log
    assert jobs["watch"].outputs["changed"] == "false"
    asked = asked_of_pip(tmp_path / "run", "watch")
    assert Path(asked["constraints"]).parts[-2:] == ("work", "constraints.txt")
    assert runner.caches.files("gate-artifacts-Linux-X64-1") == ["a/artifact.json"]
