from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.github import project
from tests.github.bare import bare
from tests.github.runner import Job, Runner

Change = Callable[[Path], None]
INPUTS: Mapping[str, object] = {"extras": "onnxruntime", "python": "", "shards": 2}


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose baselines are committed."""
    folder = project.make(tmp_path_factory.mktemp("accepted") / "project")
    project.accept(folder)
    return folder


@pytest.fixture
def check(accepted: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Job], Runner]]:
    """Runs check.yml on the project with one change."""

    def run(
        change: Change, *, inputs: Mapping[str, object] | None = None, **options: object
    ) -> tuple[dict[str, Job], Runner]:
        changed = tmp_path / "repository"
        shutil.copytree(accepted, changed)
        change(changed)
        # Jobs find what they installed, and nothing else.
        machine = bare(tmp_path / "machine")
        runner = Runner(changed, tmp_path / "run", environment=machine, **options)  # type: ignore[arg-type]
        jobs = runner.run("check.yml", {**INPUTS, **(inputs or {})})
        return jobs, runner

    return run
