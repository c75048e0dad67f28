"""``gate upgrade`` before it runs anything, and after it has run everything."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline.store import BaselineStore
from gate.cli.main import main
from gate.cli.upgrade import _accept
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import ExitCode
from gate.upgrade.accept import acceptance
from gate.upgrade.attribution import Attribution, Origin, Side
from gate.upgrade.compare import Upgraded
from tests.unit.judge.builders import case, observation
from tests.unit.report.records import PASSED

FAILURE = RunFailure(kind="crash", stage="quantize", message="no such call")
ERRED = replace(PASSED, checks=(), failure=FAILURE)
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


@pytest.mark.parametrize("as_json", [True, False])
def test_what_the_update_says_is_no_part_of_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    planned = case(baseline_policy="require")
    cell = CaseResult(case=case(), observation=observation())
    upgraded = Upgraded(
        case=planned,
        cells={(Side.NEW, Origin.MADE): cell},
        attribution=Attribution(case_id=planned.id, findings=()),
        verdict=PASSED,
    )
    store = BaselineStore(tmp_path / "baselines")
    accepted = acceptance([upgraded], store, heading="it", root=tmp_path, accept_worse=[])
    args = argparse.Namespace(json=as_json)
    code = _accept(args, accepted, [upgraded], store=store, root=tmp_path)
    assert code == ExitCode.PASS
    out, err = capsys.readouterr()
    assert "1 baseline written, 0 unchanged" in (err if as_json else out)
    assert (out if as_json else err) == ""
    assert len(list(store.files(planned.id))) == 1
    # A case that is left out: the code is that of a failure, or of a case that cannot run.
    for verdict, expected in ((PASSED, ExitCode.FAIL), (ERRED, ExitCode.INFRASTRUCTURE)):
        left = replace(accepted, recordings=(), left_out=((planned.id, "why"),))
        items = [replace(upgraded, verdict=verdict)]
        assert _accept(args, left, items, store=store, root=tmp_path) == expected


def test_what_is_no_requirement_is_a_mistake_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["upgrade", "onnxruntime=1", "--specs", "specs/digits_cnn.yaml"]
    assert main([*words, "--select", "digits_cnn/ort-dynamic@ort-cpu"]) == ExitCode.USAGE
    assert "'onnxruntime=1' is no requirement" in capsys.readouterr().err
