"""Every command and spec that a page shows is true: executed, or at least understood.

Commands of ``console`` blocks run in a small project, those of one page one after another; blocks that a
comment ``<!-- not executed: REASON -->`` precedes are only parsed by the real parser. ``yaml`` blocks are
linted: whole specs by themselves, fragments over a small spec.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from gate.cli.main import COMMANDS, build_parser
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.docs.blocks import ALL, PAGES, ROOT, Block
from tests.docs.project import FRAGMENT_BASE, make

CONSOLE = [block for block in ALL if block.language == "console"]
YAML = [block for block in ALL if block.language == "yaml"]
EXECUTED_PAGES = sorted({b.page for b in CONSOLE if not b.not_executed})
TIERS = {"numerical", "layers", "device", "overrides"}
LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")


def short(value: object) -> str:
    return value.where if isinstance(value, Block) else str(value.relative_to(ROOT))  # type: ignore[attr-defined]


# --- commands --------------------------------------------------------------------------------------


def expected_codes(words: list[str]) -> set[int]:
    """What a command of a healthy project may end with: ``diff`` and ``prune`` tell by their code."""
    return {0, 1} if words[:2] == ["baseline", "diff"] else {0}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("docs") / "template")


@pytest.mark.parametrize("page", EXECUTED_PAGES, ids=short)
def test_commands_do_what_the_page_says(page: Path, template: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    tutorial = "tutorials" in page.parts
    shutil.copytree(template, project, symlinks=True)
    if tutorial:
        shutil.rmtree(project / "specs")
        shutil.rmtree(project / "baselines")
    for block in (b for b in CONSOLE if b.page == page and not b.not_executed):
        for words in block.commands():
            done = subprocess.run(
                command_of(words),
                cwd=project,
                env=environment(tmp_path),
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            told = f"{block.where}: {' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            assert done.returncode in expected_codes(words[1:]), told


def command_of(words: list[str]) -> list[str]:
    """The same command with this interpreter's gate, pytest or python."""
    modules = {"gate": ["-m", "gate.cli.main"], "pytest": ["-m", "pytest"], "python": []}
    if words[0] == "git":
        return words
    assert words[0] in modules, f"{words[0]}: mark the block as not executed, with the reason"
    return [sys.executable, *modules[words[0]], *words[1:]]


def environment(home: Path) -> dict[str, str]:
    identity = {
        f"GIT_{who}_{what}": "a@b.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    quiet = {"NO_COLOR": "1", "CI": "", "GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
    return {**os.environ, **identity, **quiet, "HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("block", CONSOLE, ids=short)
def test_commands_are_understood(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for words in block.commands():
        while "=" in words[0]:
            words = words[1:]  # noqa: PLW2901 - variables that are set for one command
        try:
            understand(words)
        except SystemExit as error:
            pytest.fail(f"{block.where}: {words}: {error} {capsys.readouterr().err}")


def understand(words: list[str]) -> None:
    """Parse a command, or find what it names.

    Raises:
        SystemExit: the parser refuses it.
    """
    program, *rest = words
    if program == "gate":
        cut = next((i for i, word in enumerate(rest) if word in (">", "|", "&&")), len(rest))
        build_parser(None, complete=True).parse_args(rest[:cut])
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets)
    elif program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]) is not None
    elif program == "pip":
        extras = re.search(r"quantgate\[(.*)\]", rest[-1])
        assert extras
        known = (ROOT / "pyproject.toml").read_text()
        assert all(
            re.search(rf"^{name} = \[", known, re.MULTILINE) for name in extras[1].split(",")
        )
    else:
        assert program in ("pytest", "git", "python"), words


def test_the_readme_names_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(project["optional-dependencies"]) - named == {"dev"}


def test_the_item_that_the_page_on_pytest_names_exists() -> None:
    page = (ROOT / "docs" / "how-to" / "pytest.md").read_text(encoding="utf-8")
    found = re.search(r"`(specs/\S+\.yaml)::(\S+)::(\w+)`", page)
    assert found
    named = {
        case.id.partition("/")[2]: case for case in plan(load_specs([str(ROOT / found[1])])).cases
    }
    assert found[3] in named[found[2]].tiers


def test_every_command_has_an_example_somewhere() -> None:
    shown = {words[1] for block in CONSOLE for words in block.commands() if words[0] == "gate"}
    assert set(COMMANDS) - shown == set()


# --- specs and workflows ---------------------------------------------------------------------------


@pytest.mark.parametrize("block", YAML, ids=short)
def test_yaml_is_true(block: Block, tmp_path: Path) -> None:
    found: Any = yaml.safe_load(block.text)
    if "jobs" in found:
        for job in found["jobs"].values():
            for part in (job, *job.get("steps", ())):
                check_use(part)
        return
    folder = tmp_path / "specs"
    folder.mkdir()
    if "version" in found:
        (folder / "shown.yaml").write_text(block.text)
    else:
        nested = f"tolerances:\n{indent(block.text, '  ')}" if set(found) <= TIERS else block.text
        (folder / "_base.yaml").write_text(FRAGMENT_BASE)
        (folder / "shown.yaml").write_text(f"extends: _base.yaml\n{nested}")
    assert load_specs([str(folder / "shown.yaml")])


def check_use(part: Mapping[str, Any]) -> None:
    """Inputs of this repository's own workflow and action exist, and the permissions are enough."""
    uses = str(part.get("uses", ""))
    if not uses.startswith("OWNER/quantgate/"):
        return
    path = ROOT / uses.removeprefix("OWNER/quantgate/").partition("@")[0]
    declared = yaml.safe_load((path if path.is_file() else path / "action.yml").read_text())
    # YAML 1.1 reads the key "on" as true.
    called = declared.get("inputs") or declared[True]["workflow_call"]["inputs"]
    assert set(part.get("with", {})) <= set(called), uses
    levels = ["none", "read", "write"]
    for job in declared.get("jobs", {}).values():
        for scope, level in job["permissions"].items():
            granted = part["permissions"].get(scope, "none")
            assert levels.index(granted) >= levels.index(level), f"{uses}: {scope}"


# --- the pages themselves --------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for to in (match["to"] for match in LINK.finditer(text)):
        name, _, anchor = to.partition("#")
        if name.startswith(("http:", "https:", "mailto:")):
            continue
        target = (page.parent / unquote(name)).resolve() if name else page
        assert target.exists(), f"{page}: {to}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor in slugs, f"{page}: {to}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        if name != "README.md" and not name.startswith("decisions/"):
            assert f"({name})" in index, name


def test_the_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_the_threat_model_names_tests_and_code_that_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    for attempt, code, tests in rows[1:]:
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", code):
            assert (ROOT / "gate" / name).exists(), (attempt, name)
        found = re.findall(r"`([\w/]+(?:\.py|/))`", tests)
        assert found, attempt
        for name in found:
            assert (ROOT / "tests" / name).exists(), (attempt, name)
