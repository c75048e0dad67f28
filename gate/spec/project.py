"""The project around the current directory: its root and what its ``pyproject.toml`` trusts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ProjectError(Exception):
    """A ``pyproject.toml`` that cannot be used; the message is for the user."""


def project_root(start: Path | None = None) -> Path:
    """Directory of the nearest ``pyproject.toml`` at or above ``start`` (the current directory);
    ``start`` itself where there is none."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    return here


def settings(start: Path | None = None) -> Mapping[str, Any]:
    """The table ``[tool.gate]``; empty where there is none.

    Raises:
        ProjectError: the file cannot be read, or the table is none.
    """
    file = project_root(start) / "pyproject.toml"
    if not file.is_file():
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{file}: cannot be read: {error}") from None
    tool = content.get("tool", {})
    table = tool.get("gate", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise ProjectError(f"{file}: expected a table [tool.gate]")
    return table


def trusted_modules(start: Path | None = None) -> tuple[str, ...]:
    """Modules whose callables a spec may name; a package stands for everything in it.

    Raises:
        ProjectError: ``trusted`` is no list of module names.
    """
    trusted = settings(start).get("trusted", [])
    if not isinstance(trusted, list) or not all(
        isinstance(name, str) and name and all(part.isidentifier() for part in name.split("."))
        for name in trusted
    ):
        file = project_root(start) / "pyproject.toml"
        raise ProjectError(f"{file}: expected a list of module names in [tool.gate] trusted")
    return tuple(trusted)
