"""pip and uv on a small base of its own: what it has is taken, what does not fit comes beside it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from gate.cli.upgrade import add_arguments, stacks
from gate.upgrade.installers import StackError, install
from gate.upgrade.report import changes
from gate.upgrade.stacks import Stack, given_stack, make_stack
from tests.wheels import write_wheel

TOP, BELOW = "gatetestpackage", "gatetestbelow"
UV = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
BOTH = [
    "pip",
    pytest.param("uv", marks=pytest.mark.skipif(UV is None, reason="uv is not installed")),
]


def _wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    modules = {f"{name}.py": f"VERSION = '{version}'\n"}
    return write_wheel(folder, name, version, modules, requires=requires)


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All packages that there are, for pip and for uv."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    _wheel(folder, BELOW, "1.0")
    _wheel(folder, BELOW, "2.0")
    _wheel(folder, TOP, "1.0", BELOW)
    _wheel(folder, TOP, "2.0", BELOW)
    _wheel(folder, TOP, "3.0", f"{BELOW}>=2")
    for name, value in (
        *(("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder))),
        *(("UV_NO_INDEX", "1"), ("UV_FIND_LINKS", str(folder)), ("UV_OFFLINE", "1")),
        ("UV_CACHE_DIR", str(tmp_path / "uv")),
    ):
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def base(tmp_path: Path, links: Path) -> Path:
    """An interpreter with both packages in version 1.0, and this one's pip."""
    folder = tmp_path / "base"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    site = Path(done.stdout.strip())
    for name in (TOP, BELOW):
        with zipfile.ZipFile(links / f"{name}-1.0-py3-none-any.whl") as wheel:
            wheel.extractall(site)
    # Importing pip, or looking for it in the usual way, makes setuptools unusable in this process.
    found = PathFinder.find_spec("pip")
    assert found is not None
    assert found.origin is not None
    (site / "pip").symlink_to(Path(found.origin).parent)
    return python


def _where(stack: Stack, module: str) -> Path:
    code = f"import {module}; print({module}.__file__)"
    done = subprocess.run([stack.python, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.mark.parametrize("installer", BOTH)
def test_what_the_base_has_is_taken_where_it_fits(
    tmp_path: Path, base: Path, installer: str
) -> None:
    def make(requirement: str) -> Stack:
        root = tmp_path / "stacks"
        return make_stack(
            "it", [requirement], root=root, base=base, installer=installer, say=lambda _: None
        )

    two = make(f"{TOP}==2.0")
    assert (two.versions[TOP], two.versions[BELOW]) == ("2.0", "1.0")
    assert _where(two, TOP).is_relative_to(tmp_path / "stacks")
    assert _where(two, BELOW).is_relative_to(tmp_path / "base")
    three = make(f"{TOP}==3.0")
    assert (three.versions[TOP], three.versions[BELOW]) == ("3.0", "2.0")
    one = make(f"{TOP}==1.0")
    assert _where(one, TOP).is_relative_to(tmp_path / "base"), "there is nothing to install"
    below = given_stack("base", base).versions
    assert (below[TOP], below[BELOW]) == ("1.0", "1.0")


@pytest.mark.parametrize("installer", BOTH)
def test_a_whole_stack_repeats_the_base(tmp_path: Path, base: Path, installer: str) -> None:
    root = tmp_path / "stacks"
    stack = make_stack(
        "it",
        [f"{TOP}==2.0"],
        root=root,
        base=base,
        installer=installer,
        whole=True,
        say=lambda _: None,
    )
    assert (stack.versions[TOP], stack.versions[BELOW]) == ("2.0", "1.0")
    assert _where(stack, TOP).is_relative_to(root)
    assert _where(stack, BELOW).is_relative_to(root)


def test_the_stacks_that_a_command_line_asks_for(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def asked(*words: str) -> tuple[Stack, Stack]:
        return stacks(parser.parse_args(words), tmp_path)

    old, new = asked(f"{TOP}==2.0", "--python", str(base))
    assert old.python == base
    assert changes(old, new) == [(TOP, "1.0", "2.0")]
    again, same = asked("--old", str(base), "--new", str(new.python))
    assert (again.python, same.python) == (base, new.python)
    assert changes(again, same) == [(TOP, "1.0", "2.0")]
    # What one installer made is not taken for what the other would make.
    monkeypatch.setenv("PATH", str(_uv_that_says(tmp_path, "another plan")))
    with pytest.raises(StackError, match=r"no plan that is understood:\n  another plan"):
        asked(f"{TOP}==2.0", "--python", str(base), "--installer", "uv")


def test_a_plan_of_an_older_uv_is_understood(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _uv_that_says(tmp_path, f" + {TOP}==2.0 (from file:///it.whl)")
    monkeypatch.setenv("PATH", str(folder))
    install("uv", base, base, [f"{TOP}==2.0"], whole=False)
    last = (folder / "asked").read_text().splitlines()[-1]
    assert last == f"pip install --python {base} --no-deps {TOP} @ file:///it.whl"


def _uv_that_says(tmp_path: Path, said: str) -> Path:
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {program.parent}/asked\necho '{said}' >&2\n")
    program.chmod(0o755)
    return program.parent
