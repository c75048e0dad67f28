"""Stacks: only what differs is installed, the rest shows through, and nothing is installed twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gate.upgrade.installers import RequirementError, StackError
from gate.upgrade.stacks import (
    Stack,
    given_stack,
    make_stack,
    source_of_gate,
)
from tests.wheels import write_wheel


def _wheel(folder: Path, version: str) -> str:
    """A requirement on a wheel of one module: no index is asked."""
    modules = {"gatetestpackage.py": f"VERSION = '{version}'\n"}
    path = write_wheel(folder, "gatetestpackage", version, modules)
    return f"gatetestpackage @ {path.as_uri()}"


def _make(root: Path, requirement: str, said: list[str]) -> Stack:
    return make_stack("it", [requirement], root=root, base=Path(sys.executable), say=said.append)


def _python(stack: Stack, code: str) -> str:
    done = subprocess.run([stack.python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_stack_has_the_version_and_sees_the_rest(tmp_path: Path) -> None:
    said: list[str] = []
    one = _make(tmp_path / "stacks", _wheel(tmp_path, "1.0"), said)
    two = _make(tmp_path / "stacks", _wheel(tmp_path, "2.0"), said)
    assert one.versions["gatetestpackage"] == "1.0"
    assert two.versions["gatetestpackage"] == "2.0"
    code = "import gatetestpackage, numpy; print(gatetestpackage.VERSION, numpy.__version__)"
    base = given_stack("base", Path(sys.executable))
    assert _python(two, code) == f"2.0 {base.versions['numpy']}"
    assert "gatetestpackage" not in base.versions
    installing = [line for line in said if "installing" in line]
    again = _make(tmp_path / "stacks", _wheel(tmp_path, "1.0"), said)
    assert again == one
    assert [line for line in said if "installing" in line] == installing


def test_a_stack_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    requirement = _wheel(tmp_path, "1.0")
    stack = _make(tmp_path / "stacks", requirement, [])
    folder = stack.python.parents[1]
    (folder / "stack.json").unlink()
    (folder / "left-over").touch()
    assert _make(tmp_path / "stacks", requirement, []).versions["gatetestpackage"] == "1.0"
    assert not (folder / "left-over").exists()


def test_what_cannot_be_installed(tmp_path: Path) -> None:
    missing = (tmp_path / "gatetestpackage-9-py3-none-any.whl").as_uri()
    with pytest.raises(StackError, match="failed"):
        _make(tmp_path / "stacks", f"gatetestpackage @ {missing}", [])
    with pytest.raises(RequirementError, match=r"^[^\n]*is no requirement[^\n]*$"):
        _make(tmp_path / "stacks", "onnxruntime=1", [])
    with pytest.raises(StackError, match="no-such-python"):
        given_stack("it", tmp_path / "no-such-python")


def test_the_gate_that_every_stack_runs(tmp_path: Path) -> None:
    folder = source_of_gate(tmp_path)
    code = "import gate, sys; print(gate.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
