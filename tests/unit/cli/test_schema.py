from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gate.cli import schema as command
from gate.cli.main import main
from gate.spec.schema import committed_text

if TYPE_CHECKING:
    import pytest


def test_prints_the_committed_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(committed_text())


def test_write_renews_a_stale_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "schema").mkdir()
    monkeypatch.setattr(command.resources, "files", lambda _: tmp_path)
    file = tmp_path / "schema/v1.json"
    file.write_text("{}")
    assert main(["schema", "--write"]) == 0
    assert file.read_text(encoding="utf-8") == committed_text()
    assert main(["schema", "--write"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{file}: written", f"{file}: up to date"]
