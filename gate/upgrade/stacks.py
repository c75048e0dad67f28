"""Stacks of installed versions: an interpreter each, made once and kept.

A stack is a virtual environment. Unless it is made ``whole``, it holds only what differs from the
interpreter it is based on, whose packages show through behind its own: seconds and megabytes a
version, and nothing of the base is touched. A whole one repeats the base's packages inside.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gate
from gate.core.canonical import digest
from gate.run.job import write_text
from gate.upgrade.installers import StackError, bare, frozen, install, run

STAMP = "stack.json"
_VERSIONS = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.metadata['Name'].lower(): d.version"
    " for d in reversed(list(m.distributions())) if d.metadata['Name']}))"
)
_SITE = "import json, sysconfig; print(json.dumps(sysconfig.get_paths()['purelib']))"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An interpreter and what is installed for it."""

    name: str
    python: Path
    versions: Mapping[str, str]
    """Distribution name, in lower case -> version."""


def given_stack(name: str, python: Path) -> Stack:
    """The stack of an interpreter that is there.

    Raises:
        StackError: it does not run.
    """
    # Not resolved: a virtual environment's interpreter is a link, and its place is what it is.
    return Stack(name=name, python=python.absolute(), versions=_ask(python.absolute(), _VERSIONS))


def make_stack(
    name: str,
    requirements: Sequence[str],
    *,
    root: Path,
    base: Path,
    installer: str = "pip",
    whole: bool = False,
    say: Say,
) -> Stack:
    """A stack with ``requirements`` on top of ``base``; one that was made before is used again.

    Args:
        name: for messages.
        requirements: as pip takes them (``onnxruntime==1.20.1``).
        root: folder that holds the stacks.
        base: the interpreter whose packages are the rest.
        installer: ``pip`` or ``uv``.
        whole: repeat the base's packages instead of letting them show through.
        say: told what takes long.

    Raises:
        StackError: the versions cannot be installed.
    """
    for requirement in requirements:
        bare(requirement)
    below = _ask(base, _VERSIONS)
    wanted = [*requirements]
    parts = {
        "base": str(base),
        "below": below,
        "requirements": sorted(wanted),
        "whole": whole,
        "installer": installer,
    }
    folder = root / digest(parts)[:16]
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / STAMP).is_file():
        say(f"{name}: installing {' '.join(wanted)} (kept in {folder})")
        shutil.rmtree(folder, ignore_errors=True)  # of a making that was interrupted
        folder.parent.mkdir(parents=True, exist_ok=True)
        run([str(base), "-m", "venv", "--without-pip", str(folder)])
        if whole:
            wanted = [*frozen(installer, base, requirements), *wanted]
        else:
            _show_through(python, base)
        install(installer, python, base, wanted, whole=whole)
        write_text(folder / STAMP, json.dumps(parts, indent=1, sort_keys=True))
    stack = given_stack(name, python)
    changed = {n: v for n, v in stack.versions.items() if below.get(n) != v}
    say(f"{name}: {', '.join(f'{n} {v}' for n, v in sorted(changed.items())) or 'as installed'}")
    return stack


def source_of_gate(folder: Path) -> Path:
    """A copy of this gate's code to put on another interpreter's path: every stack runs the same
    gate, and nothing else of this installation comes with it."""
    package = Path(gate.__file__).parent
    target = folder / package.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _show_through(python: Path, base: Path) -> None:
    own, below = _ask(python, _SITE), _ask(base, _SITE)
    # A line of code, not a path: that way links of the base's own (editable projects) count too.
    line = f"import site; site.addsitedir({below!r})\n"
    Path(own, "base.pth").write_text(line, encoding="utf-8")


def _ask(python: Path, code: str) -> Any:
    try:
        return json.loads(run([str(python), "-c", code]).stdout)
    except ValueError as error:
        raise StackError(f"{python}: gives no sensible answer: {error}") from error


def this_interpreter() -> Path:
    """The interpreter that runs now."""
    return Path(sys.executable)
