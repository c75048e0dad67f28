"""``gate upgrade`` before it makes or runs anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gate.cli.main import main
from gate.core.status import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_accepting_in_ci_must_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["upgrade", "onnxruntime==1.31.1", "--specs", "none.yaml"]
    monkeypatch.setenv("CI", "true")
    assert main([*words, "--update-baselines"]) == ExitCode.USAGE
    assert "--in-ci" in capsys.readouterr().err
    # Neither the word nor a comparison that accepts nothing is refused for that.
    for meant in (["--update-baselines", "--in-ci"], []):
        assert main([*words, *meant]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert "none.yaml" in said
        assert "--in-ci" not in said
