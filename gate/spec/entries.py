"""``package.module:callable`` in a spec -> the callable, from trusted modules only."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from gate.spec.diagnostics import did_you_mean
from gate.spec.project import ProjectError, project_root, trusted_modules

ENTRY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


class EntryError(Exception):
    """An entry that is malformed, not trusted, or cannot be loaded; the message is for the user."""


def load_entry(entry: str) -> Callable[..., Any]:
    """Import the module of ``entry`` and return its callable.

    The module is found from the project's root, as with ``python -m`` there. A callable that the
    module only imported from a module outside the trusted ones is refused, so that a spec cannot
    reach, say, ``os.system`` through a module that imports it.

    Raises:
        EntryError: malformed, not trusted, not importable, or no callable of that name.
    """
    trusted = check_entry(entry)
    name, _, attribute = entry.partition(":")
    found = getattr(_import(name, entry), attribute, None)
    if found is None:
        hint = did_you_mean(attribute, _public(sys.modules[name]))
        raise EntryError(f"'{entry}': no '{attribute}' in {name}{f' ({hint})' if hint else ''}")
    if not callable(found):
        raise EntryError(f"'{entry}' is a {type(found).__name__}, not a callable")
    home = getattr(found, "__module__", None)
    if not isinstance(home, str) or not is_trusted(home, trusted):
        raise EntryError(
            f"'{entry}' is defined in {home}, which is not trusted; wrap it in a function of {name}"
        )
    return found  # type: ignore[no-any-return] # callable() was asked above


def check_entry(entry: str) -> tuple[str, ...]:
    """Refuse an entry whose module is not trusted, before anything of it is imported; the trusted
    modules otherwise.

    Raises:
        EntryError: malformed or not trusted.
    """
    if re.fullmatch(ENTRY_PATTERN, entry) is None:
        raise EntryError(f"expected 'package.module:callable', found '{entry}'")
    name = entry.partition(":")[0]
    try:
        trusted = trusted_modules()
    except ProjectError as error:
        raise EntryError(str(error)) from None
    if not is_trusted(name, trusted):
        file = project_root() / "pyproject.toml"
        listed = f"[tool.gate] trusted in {file} lists {', '.join(trusted) or 'nothing'}"
        if not file.is_file():
            listed = f"there is no pyproject.toml at or above {file.parent}: run in the project"
        raise EntryError(f"'{entry}': the module is not trusted; {listed}")
    return trusted


def is_trusted(module: str, trusted: tuple[str, ...]) -> bool:
    """True where ``module`` or a package around it is listed."""
    return any(module == name or module.startswith(name + ".") for name in trusted)


def _import(name: str, entry: str) -> ModuleType:
    root = str(project_root())
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        return importlib.import_module(name)
    # A module of a user may fail in any way when imported, exiting included.
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise EntryError(f"'{entry}': cannot import {name}: {reason}") from error


def _public(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
