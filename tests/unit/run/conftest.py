from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.core.case import Plan
from gate.core.result import CaseResult
from gate.run.engine import run_plan
from gate.run.events import Event
from gate.run.settings import RunSettings
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that is the current directory of this module's tests."""
    root = make_project(tmp_path_factory.mktemp("project"))
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    yield root
    patch.undo()


@pytest.fixture
def planned(project: Path) -> Callable[..., Plan]:
    from tests.unit.run.project import spec_of, write_spec

    def make(entry: str = "good", *, name: str = "case", **changes: Any) -> Plan:
        return plan(load_specs([write_spec(project, name, spec_of(entry, **changes))]))

    return make


@pytest.fixture
def engine(project: Path, tmp_path: Path) -> Callable[..., tuple[list[CaseResult], list[Event]]]:
    """Runs a plan and gives results and events."""

    def run(wanted: Plan, **changes: Any) -> tuple[list[CaseResult], list[Event]]:
        events: list[Event] = []
        settings = RunSettings(
            **{"run_dir": tmp_path / "run", "cache_dir": project / "cache", **changes}
        )
        return list(run_plan(wanted, settings=settings, on_event=events.append)), events

    return run
