"""A project of a user's with one trusted module of his own."""

import sys
from pathlib import Path

import pytest


def own_module(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write it into ``folder`` and go there; gives the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(f'[tool.gate]\ntrusted = ["{name}"]\n')
    (folder / f"{name}.py").write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return folder
