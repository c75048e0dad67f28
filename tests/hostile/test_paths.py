"""Files that a spec of a pull request names: inside its repository, or through a variable, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.cli.main import main
from gate.core.status import ExitCode
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from tests.unit.run.project import spec_of

Lint = Callable[[str], str]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout with a folder of specs, and a secret beside it."""
    root = tmp_path / "checkout"
    (root / "specs").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "tiny.onnx").write_bytes(b"model")
    (tmp_path / "secret.onnx").write_bytes(b"secret")
    (tmp_path / "secret.yaml").write_text("password: hunter2\n")
    return root


def with_model(path: str) -> dict[str, Any]:
    spec = spec_of("good")
    reference = {"source": "onnx", "path": path}
    return {**spec, "model": {**spec["model"], "reference": reference}}


def lint(repository: Path, spec: dict[str, Any]) -> str:
    """What is wrong with the spec; empty where nothing is."""
    path = repository / "specs" / "a.json"
    path.write_text(json.dumps(spec))
    try:
        load_specs([str(path)])
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "path", ["../../secret.onnx", "../tiny.onnx/../../secret.onnx", "/etc/passwd"]
)
def test_paths_stay_in_the_repository(repository: Path, path: str) -> None:
    said = lint(repository, with_model(path))
    assert f"model.reference.path: '{path}' lies outside the repository, which is refused" in said
    assert "through an environment variable" in said


def test_paths_in_the_repository_are_taken(repository: Path) -> None:
    (repository / "specs" / "link.onnx").symlink_to(repository / "tiny.onnx")
    for path in ("../tiny.onnx", "link.onnx", "not/yet/there.onnx", str(repository / "tiny.onnx")):
        assert lint(repository, with_model(path)) == ""


def test_links_out_of_the_repository_are_refused(repository: Path) -> None:
    (repository / "specs" / "link.onnx").symlink_to("../../secret.onnx")
    (repository / "specs" / "folder").symlink_to(repository.parent)
    for path in ("link.onnx", "folder/secret.onnx"):
        said = lint(repository, with_model(path))
        assert f"'{path}' is a link out of the repository, which is refused" in said


def test_a_variable_is_the_word_of_the_machine(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS", str(repository.parent))
    assert lint(repository, with_model("${MODELS}/secret.onnx")) == ""


def test_every_kind_of_path_is_looked_at(repository: Path) -> None:
    spec = with_model("../tiny.onnx")
    spec["data"] = {"evaluation": {"source": "npz", "path": "/data.npz", "inputs": "x"}}
    spec["quantizations"] = {"given": {"method": "candidate", "path": "../../secret.onnx"}}
    said = lint(repository, spec)
    assert "data.evaluation.path: '/data.npz' lies outside" in said
    assert "quantizations.given.path: '../../secret.onnx' lies outside" in said


def test_extends_reads_nothing_outside_and_shows_nothing_of_it(repository: Path) -> None:
    (repository / "specs" / "base.yaml").symlink_to("../../secret.yaml")
    for target in ("../../secret.yaml", "base.yaml", "../../absent.yaml"):
        said = lint(repository, {"version": 1, "extends": target})
        assert "which is refused" in said
        assert "hunter2" not in said
        assert "password" not in said


def test_a_spec_that_is_a_link_out_of_the_repository_is_not_read(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "specs" / "b.yaml").symlink_to("../../secret.yaml")
    assert main(["lint", str(repository / "specs")]) == ExitCode.USAGE
    said = "".join(capsys.readouterr())
    assert "is a link out of the repository, which is refused" in said
    assert "password" not in said


def test_without_a_repository_paths_are_the_caller_s_own(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    assert lint(tmp_path, with_model("/models/net.onnx")) == ""


def test_a_worktree_counts_as_a_repository(repository: Path) -> None:
    (repository / ".git").rmdir()
    (repository / ".git").write_text("gitdir: ../other/.git/worktrees/checkout\n")
    assert "lies outside" in lint(repository, with_model("/models/net.onnx"))
