from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate.spec.entries import EntryError, load_entry
from gate.spec.project import ProjectError, project_root, settings, trusted_modules

Write = Callable[[str, str], Path]

PYPROJECT = '[tool.gate]\ntrusted = ["trusted_package", "single.part"]\n'
MODULE = """\
from functools import wraps
from os import system
from os.path import join as renamed

NUMBER = 3

def build(size=2):
    return size * 10

class Model:
    pass

@wraps(build)
def wrapped():
    return 1
"""


@pytest.fixture
def project(write: Write, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    write("pyproject.toml", PYPROJECT)
    write("trusted_package/models.py", MODULE)
    before, path = set(sys.modules), list(sys.path)
    yield write
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_trusted_callable_is_loaded(project: Write) -> None:
    assert load_entry("trusted_package.models:build")(4) == 40
    assert load_entry("trusted_package.models:Model").__name__ == "Model"
    assert load_entry("trusted_package.models:wrapped")() == 1


def test_modules_are_found_from_the_root_whatever_the_directory(
    project: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    assert load_entry("trusted_package.models:build")() == 20


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("os:system", "the module is not trusted"),
        ("trusted_packages.models:build", "the module is not trusted"),
        ("trusted_package_models:build", "the module is not trusted"),
        ("single:x", "the module is not trusted"),
        ("trusted_package.models:system", "is defined in posix, which is not trusted"),
        ("trusted_package.models:renamed", "is defined in posixpath, which is not trusted"),
        ("trusted_package.models:buidl", "did you mean 'build'?"),
        ("trusted_package.models:NUMBER", "is a int, not a callable"),
        ("trusted_package.absent:build", "ModuleNotFoundError"),
        ("trusted_package.models", "expected 'package.module:callable'"),
        ("trusted_package.models:", "expected 'package.module:callable'"),
        (":build", "expected 'package.module:callable'"),
        ("trusted_package..models:build", "expected 'package.module:callable'"),
        ("trusted_package.models:build.__globals__", "expected 'package.module:callable'"),
        ("trusted_package.models:build\n", "expected 'package.module:callable'"),
        ("../trusted_package:build", "expected 'package.module:callable'"),
    ],
)
def test_everything_else_is_refused(project: Write, entry: str, message: str) -> None:
    with pytest.raises(EntryError, match=re.escape(message)):
        load_entry(entry)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_module_that_fails_when_imported(project: Write, text: str, message: str) -> None:
    project("trusted_package/failing.py", text + "\n")
    with pytest.raises(EntryError, match=re.escape(message)):
        load_entry("trusted_package.failing:f")


def test_without_a_list_nothing_is_trusted(write: Write) -> None:
    write("pyproject.toml", "[project]\nname = 'x'\n")
    assert trusted_modules() == ()
    with pytest.raises(EntryError, match="lists nothing"):
        load_entry("specs.models:build")


def test_outside_a_project_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EntryError, match=re.escape(f"no pyproject.toml at or above {tmp_path}")):
        load_entry("specs.models:build")


def test_the_nearest_pyproject_is_the_root(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("pyproject.toml", PYPROJECT)
    write("inner/pyproject.toml", "[tool.gate]\nbaselines = 'b'\n")
    write("inner/deep/x.txt", "")
    assert project_root() == tmp_path
    monkeypatch.chdir(tmp_path / "inner/deep")
    assert project_root() == tmp_path / "inner"
    assert settings() == {"baselines": "b"}
    assert trusted_modules() == ()


@pytest.mark.parametrize(
    "text",
    [
        "[tool.gate]\ntrusted = 'specs'\n",
        "[tool.gate]\ntrusted = [1]\n",
        "[tool.gate]\ntrusted = ['']\n",
        "[tool.gate]\ntrusted = ['specs.*']\n",
        "[tool]\ngate = 3\n",
        "tool = 3\n",
        "[tool.gate\n",
    ],
)
def test_a_malformed_pyproject_trusts_nothing(write: Write, text: str) -> None:
    write("pyproject.toml", text)
    with pytest.raises(ProjectError, match=r"pyproject\.toml: "):
        trusted_modules()
    with pytest.raises(EntryError):
        load_entry("specs.models:build")
