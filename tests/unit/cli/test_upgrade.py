"""``gate upgrade`` before it runs anything, and after it has run everything."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from gate.cli.main import main
from gate.cli.upgrade import _accept
from gate.core.status import ExitCode
from gate.upgrade.attribution import Attribution
from gate.upgrade.cells import Bench
from gate.upgrade.compare import Upgraded
from gate.upgrade.stacks import Stack
from tests.unit.judge.builders import case
from tests.unit.report.records import PASSED

ROOT = Path(__file__).parents[3]


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("upgrade", "name what is upgraded"),
        ("upgrade a==1 --new python", "name what is upgraded"),
        ("upgrade a==1 --old python --from a==0", "both say what the old stack is"),
        ("upgrade a==1 --accept-worse size", "are for --update-baselines"),
        ("upgrade a==1 --in-ci", "are for --update-baselines"),
        ("bisect a.yaml --case a --good b --bad c --commits --versions 1,2", "are for --package"),
        ("bisect a.yaml --case a --good b --bad c --commits --installer uv", "are for --package"),
    ],
)
def test_what_would_be_ignored_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    assert main(words.split()) == ExitCode.USAGE
    assert told in capsys.readouterr().err


def test_what_the_update_says_is_no_part_of_the_document(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    python.chmod(0o755)
    upgraded = Upgraded(
        case=case(),
        cells={},
        attribution=Attribution(case_id=case().id, findings=()),
        verdict=PASSED,
    )
    bench = Bench(project=tmp_path, work=tmp_path, gate_source=tmp_path, cache_dir=tmp_path)
    args = argparse.Namespace(json=True, update_baselines=True, accept_worse=["size"], in_ci=True)
    new = Stack(name="new", python=python, versions={})
    assert _accept(args, "upgrade of it", new, [upgraded], bench=bench) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "--reason upgrade of it" in err
    assert "--in-ci --accept-worse size" in err


def test_what_is_no_requirement_is_a_mistake_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["upgrade", "onnxruntime=1", "--specs", "specs/digits_cnn.yaml"]
    assert main([*words, "--select", "digits_cnn/ort-dynamic@ort-cpu"]) == ExitCode.USAGE
    assert "'onnxruntime=1' is no requirement" in capsys.readouterr().err
