"""The layout that a newcomer relies on."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from gate.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "gate").rglob("*.py"))
LINES = 400


def test_no_module_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in MODULES
        if (count := len(path.read_text("utf-8").splitlines())) > LINES
    }
    assert not long


def test_no_module_is_a_drawer() -> None:
    assert not [p for p in MODULES if p.stem in {"utils", "util", "helpers", "misc", "common"}]


def test_every_module_says_what_it_is_for() -> None:
    mute = [p for p in MODULES if not ast.get_docstring(ast.parse(p.read_text("utf-8")))]
    assert not mute


def test_every_command_has_its_file() -> None:
    assert {f"gate.cli.{name.replace('-', '_')}" for name in COMMANDS} == {
        module for module, _ in COMMANDS.values()
    }
    for module, _ in COMMANDS.values():
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_every_station_of_the_import_contract_is_in_the_architecture_page() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    stations = {name.strip() for layer in layers for name in layer.split("|")}
    assert len(stations) > 10
    for station in stations:
        path = station.replace(".", "/")
        assert f"`{path}/`" in page or f"`{path}.py`" in page, station


def test_decision_records_are_numbered_and_complete() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert records
    numbers = [re.match(r"(\d{4})-[a-z0-9-]+\.md", path.name) for path in records]
    assert all(numbers)
    assert len({number[1] for number in numbers if number}) == len(records)
    for path in records:
        text = path.read_text("utf-8")
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text, f"{path.name} has no {heading}"
